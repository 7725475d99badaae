"""Image files in one folder for each class, as one array.

Two passes bound the memory: the first reads only headers, and finds all files that cannot be
loaded before any pixel is decoded; the second decodes one image at a time.
"""

import mmap
import os
import shutil
import tempfile
import warnings
from contextlib import closing, contextmanager
from itertools import chain
from math import prod

import numpy as np
from numpy.typing import DTypeLike
from sklearn.utils import Bunch

from .._estimator.arguments import check_switches, short_repr
from .._estimator.shapes import is_whole_number
from ._progress_bar import progress_bar

# Not those that run a program (EPS) or hold drawings, icons, films or measurements.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "JPEG2000", "PPM", "TIFF", "WEBP", "HEIF", "AVIF")
_MODES = "1 L LA La P PA RGB RGBA RGBa RGBX CMYK YCbCr I;16 I;16L I;16B".split()
_DTYPES = ("uint8", "uint16", "float32")
_BITS, _PHOTOMETRIC, _FILL_ORDER, _PLANAR, _SAMPLE_FORMAT = 258, 262, 266, 284, 339  # of TIFF
_SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx"}

_MAX_IN_MEMORY = 2**30  # bytes of all images together
_BAR_DELAY = 2.0  # seconds before there is a progress bar
_MAX_LISTED = 5  # files that an error names
_FEW_LEVELS = 4095  # of 16 bits: at most 17 levels are left of them in 8 bits


def load_image_files(
    container_path: str | os.PathLike[str],
    *,
    size: tuple[int, int] | None = None,
    grey: bool = False,
    dtype: DTypeLike = "uint8",
) -> Bunch:
    """Load image files from a folder that has one subfolder for each class.

    Like :func:`sklearn.datasets.load_files`, for images. The names of the subfolders are those of
    the classes::

        photos/
            cat/
                1.jpg
                2.png
            dog/
                1.jpg

    Hidden files and folders (with a leading dot) are left out, and so are those that operating
    systems put beside images (``Thumbs.db``, ``ehthumbs.db``, ``desktop.ini``, ``__MACOSX``), and
    files that are in no subfolder. Anything else in a subfolder must be an image: JPEG, PNG, BMP,
    GIF, JPEG 2000, PPM, TIFF, WebP or AVIF; also HEIC, after
    ``pillow_heif.register_heif_opener()``.

    Needs Pillow: ``pip install pillow``. Wheels of Pillow read AVIF from 11.3 on.

    Parameters
    ----------
    container_path : str or path-like
        The folder.

    size : tuple (height, width), default=None
        Resize all images to this size, in pixels; proportions are not kept. The resampling is
        bilinear with antialiasing: a pixel of a smaller image is a weighted mean of all the pixels
        that it covers. None: all images must already be of one size.

    grey : bool, default=False
        Load grey levels instead of red, green and blue. The grey level of a colour is
        0.299 red + 0.587 green + 0.114 blue (ITU-R 601).

    dtype : {"uint8", "uint16", "float32"}, default="uint8"
        Type of the intensities.

        - "uint8": 0-255. Grey levels of 16 bits are divided by 257, so that white is 255, and
          rounded.
        - "uint16": 0-65535. Grey levels of 16 bits stay as they are; levels of 8 bits are
          multiplied by 257, so that white is 65535.
        - "float32": 0-255 as for "uint8", but never rounded: not when grey levels of 16 bits are
          divided by 257, nor when colours become grey, transparent pixels are composited, or
          images are resized. A model of images in "uint8" also suits these, and
          ``np.rint(257 * images)`` has the levels of 16 bits.

        Only grey levels have 16 bits in Pillow. PNG, TIFF and PPM files of 16-bit colours are
        refused unless the dtype is "uint8"; JPEG 2000, AVIF and HEIC files of more bits are
        rounded to 8 by the decoder.

    Returns
    -------
    dataset : Bunch
        Images in the order of their classes, and of their file names in each class.

        ``images``
            ndarray of shape (n, H, W, 3), or (n, H, W) if ``grey``, of the dtype; intensities.
            If all images together take more than 1 GiB, the array is a memory map of a temporary
            file, which is removed with the last view of the array. The environment variable
            TMPDIR chooses the folder of the file.
        ``data``
            ndarray of shape (n, n_features), of the dtype, a view of ``images``.
        ``target``
            ndarray of shape (n,), int64; class numbers.
        ``target_names``
            list of str; the name of each class number, sorted as text: "10" comes before "2".
        ``filenames``
            ndarray of shape (n,), str; the path of each file.
        ``DESCR``
            str; description of the dataset.

    Raises
    ------
    ImportError
        If Pillow is not installed.
    OSError
        If the folder cannot be read, or the temporary file does not fit on its disk.
    TypeError, ValueError
        If an argument is wrong, if there are no subfolders or one has no files, if files are not
        images, damaged, or of pixels that Pillow cannot read whole, or if images are of several
        sizes and ``size`` is None.

    Warns
    -----
    UserWarning
        If there are 16-bit files, none of them has a level above 4095, and the dtype is "uint8",
        which would keep at most 17 of their levels apart.

    Notes
    -----
    Images are rotated and mirrored as their EXIF orientation says. Transparent images are
    composited onto white. Levels of PGM files are scaled so that the greatest that the file
    declares is white; likewise those of TIFF files of 12 bits. TIFF files in which white is zero
    are inverted.

    Pixels of signed, 32-bit or floating-point numbers (modes I and F of Pillow) are refused,
    because their range is unknown. So are TIFF files of which Pillow reads wrong levels: those of
    signed 8 bits, those that have their bands in separate planes without compression and not in 8
    bits, and grey with transparency in separate planes. Colour profiles are ignored, also in the
    conversion of CMYK. Of an animation, or of a file of several pages, the first image is loaded.

    Where the names of the classes are numbers, ``np.array(target_names, dtype=int)[target]`` has
    them as numbers.

    A file whose header declares more than ``PIL.Image.MAX_IMAGE_PIXELS`` pixels (some 89 million)
    is refused before it is decoded.

    Examples
    --------
    >>> from skcnn.datasets import load_image_files
    >>> photos = load_image_files("photos", size=(64, 64))  # doctest: +SKIP
    >>> photos.images.shape, photos.target_names  # doctest: +SKIP
    ((3, 64, 64, 3), ['cat', 'dog'])
    """
    dtype = _check_arguments(container_path, size, grey, dtype)
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("load_image_files needs Pillow: pip install pillow") from error
    container = os.fspath(container_path)
    target_names, paths, target = _list_files(container)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        common_size = _check_headers(container, paths, size, dtype)
        shape = common_size if grey else (*common_size, 3)
        images, max_level = _read_images(container, paths, size, shape, dtype)
    if dtype == np.uint8 and 0 < max_level <= _FEW_LEVELS:
        warnings.warn(
            f"The 16-bit files of {container!r} have levels up to {max_level} of 65535, of which "
            f'dtype="uint8" keeps {(max_level + 128) // 257 + 1}. Give dtype="uint16" or '
            'dtype="float32" (grey images only: of 16-bit colours Pillow reads 8 bits).',
            stacklevel=2,
        )
    return Bunch(
        images=images,
        data=images.reshape(len(images), prod(images.shape[1:])),
        target=target,
        target_names=target_names,
        filenames=np.array(paths),
        DESCR=f"{len(images)} images of {len(target_names)} classes, from {container}",
    )


def _check_arguments(container_path, size, grey, dtype):
    """Return dtype as NumPy's; refuse wrong types, and sizes that no image has."""
    if not isinstance(container_path, str | os.PathLike):
        raise TypeError(f"container_path={short_repr(container_path)} must be a str or path-like.")
    check_switches(grey=grey)
    sides = size if isinstance(size, tuple | list) and len(size) == 2 else [None]
    if size is not None and not all(is_whole_number(k) and 1 <= k < 2**31 for k in sides):
        raise ValueError(
            f"size={short_repr(size)} must be (height, width), in whole pixels, or None."
        )
    try:
        name = np.dtype(dtype).name
    except (TypeError, ValueError):
        name = None
    if name not in _DTYPES:
        raise ValueError(f'dtype={short_repr(dtype)} must be "uint8", "uint16" or "float32".')
    return np.dtype(name)


def _list_files(container):
    """Return the names of the classes, the paths of all files, and the class of each."""
    folders = [path for path in _visible(container) if os.path.isdir(path)]
    if not folders:
        raise ValueError(f"{container!r} must have a subfolder for each class, and has none.")
    files = [_visible(folder) for folder in folders]
    empty = [repr(folder) for folder, paths in zip(folders, files) if not paths]
    if empty:
        raise ValueError(f"There are no images in {_first_few(empty)}: remove empty folders.")
    target = np.repeat(np.arange(len(files), dtype=np.int64), [len(paths) for paths in files])
    return [os.path.basename(path) for path in folders], list(chain(*files)), target


def _visible(folder):
    """Return the sorted paths of what is in a folder, except hidden files and those of systems."""
    names = [name for name in sorted(os.listdir(folder)) if name.lower() not in _SYSTEM_FILES]
    return [os.path.join(folder, name) for name in names if not name.startswith(".")]


def _first_few(items, separator=", "):
    """Return the first few items for an error, and how many more there are."""
    more = f" and {len(items) - _MAX_LISTED} more" if len(items) > _MAX_LISTED else ""
    return separator.join(items[:_MAX_LISTED]) + more


def _check_headers(container, paths, size, dtype):
    """Return the one (height, width) of all images; one error for all that cannot be loaded."""
    problems, firsts = [], {}  # the first file of each size

    def read(path):
        return _read_header(path, dtype)

    with closing(_each(read, paths, container, "headers")) as headers:
        for path, (found, problem) in headers:
            if problem:
                problems.append(f"{path!r} ({problem})")
            firsts.setdefault(found, path)
    if problems:
        parents = dict.fromkeys(
            repr(os.path.dirname(path)) for path in paths if os.path.isdir(path)
        )
        hint = (
            f"If the folders are the classes, pass {_first_few([*parents], ' or ')}. If not, move"
        )
        raise ValueError(
            f"{len(problems)} of {len(paths)} files in the subfolders of {container!r} cannot be "
            f"loaded: {_first_few(problems)}. {hint if parents else 'Move'} them elsewhere, or "
            "convert them."
        )
    if size is None and len(firsts) > 1:
        examples = [f"{path!r} {H} x {W}" for (H, W), path in firsts.items()]
        raise ValueError(
            f"The images of {container!r} are of {len(firsts)} sizes, height x width: "
            f"{_first_few(examples)}. Resize them to one, with size=(height, width)."
        )
    return tuple(map(int, size or [*firsts][0]))


@contextmanager
def _opened(path):
    """Open an image file of one of the formats; HEIF and AVIF where Pillow has a reader of them."""
    from PIL import Image

    Image.init()
    formats = [name for name in _FORMATS if name in Image.OPEN]
    # By its path, Pillow would map an uncompressed TIFF, with wrong strides where it is turned.
    with open(path, "rb") as file, Image.open(file, formats=formats) as image:
        yield image


def _read_header(path, dtype):
    """Return the (height, width) that a file declares, and None or why it cannot be loaded."""
    from PIL import UnidentifiedImageError

    if os.path.isdir(path):
        return None, "a folder"
    if not os.path.isfile(path):  # reading from a pipe, say, would wait forever
        return None, "not a regular file"
    try:
        with _opened(path) as image:
            width, height = image.size
            # Pillow swaps the sides of a TIFF itself; it would decode a PNG to look for EXIF data.
            has_exif = image.format != "TIFF" and not image.info.keys().isdisjoint({"exif", "xmp"})
            is_turned = has_exif and image.getexif().get(0x0112) in (5, 6, 7, 8)
            problem = _pixel_problem(image, dtype)
            return (width, height) if is_turned else (height, width), problem
    except UnidentifiedImageError:
        needs_reader = path.lower().endswith((".heic", ".heif"))
        hint = "; HEIC needs pillow_heif.register_heif_opener()" if needs_reader else ""
        return None, f"not an image of a supported format{hint}"
    except Exception as error:  # of any type, for a damaged file
        return None, str(error) or type(error).__name__


def _pixel_problem(image, dtype):
    """Return why the pixels of an image cannot be loaded, or None; they are not yet decoded."""
    # Pillow scales the levels of a PGM file to 65,535.
    if image.mode not in _MODES and not (image.mode == "I" and image.format == "PPM"):
        return f"pixels of the mode {image.mode!r}, whose range is unknown"
    if image.format == "TIFF":
        tags = image.tag_v2
        if 2 in tags.get(_SAMPLE_FORMAT, ()):
            return "signed levels of 8 bits, whose sign Pillow ignores"
        # Pillow reads planes as plain bytes, whatever they are, where they are not compressed.
        is_plain = {*tags.get(_BITS, ())} == {8} or image.mode == "1"
        is_plain &= tags.get(_PHOTOMETRIC, 0) != 0 and tags.get(_FILL_ORDER, 1) == 1
        is_right = is_plain or image.tile[0][0] != "raw"
        if tags.get(_PLANAR) == 2 and (image.mode in ("LA", "La", "PA") or not is_right):
            return "bands in separate planes, which Pillow reads wrongly"
    if dtype != np.uint8 and _has_wide_colours(image):
        return f"16-bit colours, of which Pillow reads 8 bits; dtype={dtype.name!r} needs them all"
    return None


def _raw_mode(image):
    """Return Pillow's name for the pixels as they are in the file, and parameters of the decoder.

    It is forgotten when the pixels are read.
    """
    args = image.tile[0][3] if image.tile else ""
    return [args] if isinstance(args, str) else args


def _has_wide_colours(image):
    """Whether a PNG, TIFF or PPM file has 16 bits of each colour, or of grey with transparency."""
    raw, *params = _raw_mode(image)
    if image.format == "PPM":
        return image.mode == "RGB" and params != [] and params[0] > 255
    return image.format in ("PNG", "TIFF") and image.mode[0] != "I" and raw[-4:-1] == ";16"


def _read_images(container, paths, size, shape, dtype):
    """Return the pixels of all images, of a shape each, and the greatest level of 16-bit files."""
    max_level = 0

    def read(path):
        nonlocal max_level
        pixels, level = _read_image(path, size, shape, dtype)
        max_level = max(max_level, level)
        return pixels

    with closing(_each(read, paths, container, "pixels")) as pixels:
        images = _stack((image for _, image in pixels), (len(paths), *shape), dtype)
    return images, max_level


def _stack(pixels, shape, dtype):
    """Return images as one array of a shape (n, H, W) or (n, H, W, 3), in memory or mapped."""
    n_bytes = prod(shape) * dtype.itemsize
    if n_bytes <= _MAX_IN_MEMORY:
        images = np.empty(shape, dtype=dtype)
        for k, image in enumerate(pixels):
            images[k] = image
        return images
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise OSError(
            f"The images are {n_bytes} bytes, and {folder} has {free} left for a temporary file. "
            "Name a folder on another disk with the environment variable TMPDIR, or make the "
            "images smaller with size=(height, width)."
        )
    with tempfile.TemporaryFile() as file:
        for image in pixels:  # written: assigning to a map would crash where the disk is full
            file.write(np.ascontiguousarray(image))
        file.flush()
        # Not an np.memmap: joblib would send its workers the name of the file, which has none.
        return np.frombuffer(mmap.mmap(file.fileno(), n_bytes), dtype).reshape(shape)


def _read_image(path, size, shape, dtype):
    """Return the pixels of an image as an array of a shape, and its greatest level of 16 bits."""
    from PIL import ImageOps

    try:
        with _opened(path) as image:
            if size is not None:  # a JPEG file is decoded to fewer pixels, in less time and memory
                image.draft(None, (2 * max(size), 2 * max(size)))
            raw = _raw_mode(image)[0]
            has_wide_colours = _has_wide_colours(image)
            ImageOps.exif_transpose(image, in_place=True)
            max_level = 0
            if image.mode[0] == "I":
                pixels, max_level = _read_16_bits(image, raw)
                if dtype == np.uint8:
                    pixels = np.rint(pixels).astype(np.uint8)
            elif dtype == np.uint8:
                pixels = _read_8_bits(image, "RGB" if len(shape) == 3 else "L")
                if has_wide_colours:
                    max_level = 256 * int(pixels.max()) + 255
            else:
                pixels = _read_unrounded(image, len(shape) == 2)
        if size is not None:
            pixels = _resize(pixels, shape[:2])
        if pixels.ndim < len(shape):
            pixels = np.repeat(pixels[:, :, None], 3, axis=2)
        if dtype == np.uint16:
            pixels = np.rint(257 * pixels).astype(np.uint16)
        if pixels.shape != shape:  # EXIF data after the pixels, or another file than before
            found, expected = (f"{H} x {W}" for H, W in (pixels.shape[:2], shape[:2]))
            raise ValueError(f"it is {found} and not {expected}: give size=(height, width)")
        return pixels, max_level
    except Exception as error:  # of any type, for a damaged file
        raise ValueError(
            f"{path!r} cannot be loaded: {error}. Move it elsewhere, or replace it."
        ) from error


def _read_16_bits(image, raw):
    """Return the levels of a 16-bit grey image as intensities, 0-255, and the greatest level."""
    levels = np.asarray(image).astype(np.int32)
    if raw == "I;12":
        levels = (65535 * levels + 2047) // 4095
    max_level = int(levels.max())
    # Pillow inverts such levels itself where they have 8 bits.
    if image.format == "TIFF" and raw in ("I;16", "I;16N") and image.tag_v2.get(_PHOTOMETRIC) == 0:
        levels = 65535 - levels
    levels[levels == image.info.get("transparency")] = 65535
    return (levels / 257).astype(np.float32), max_level


def _read_8_bits(image, mode):
    """Return the colours or grey levels of an image on white, uint8."""
    from PIL import Image

    if image.has_transparency_data:
        opaque = _with_alpha(image)
        image = Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque)
    return np.asarray(image.convert(mode))


def _read_unrounded(image, grey):
    """Return the colours or grey levels of an image on white, 0-255, float32."""
    if image.has_transparency_data:
        colours = np.asarray(_with_alpha(image), dtype=np.float32)
        alpha = colours[:, :, 3:] / 255
        colours = 255 + alpha * (colours[:, :, :3] - 255)
    else:
        colours = np.asarray(image.convert("RGB"), dtype=np.float32)
    # The sum is exact: the level of a grey pixel stays a whole number.
    return colours @ np.array([299, 587, 114], np.float32) / 1000 if grey else colours


def _with_alpha(image):
    """Return an image with transparency in the mode RGBA."""
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")


def _resize(pixels, size):
    """Return pixels resized to a (height, width)."""
    from PIL import Image

    if pixels.ndim == 3 and pixels.dtype == np.float32:  # Pillow resizes a band of floats at a time
        return np.stack([_resize(band, size) for band in np.moveaxis(pixels, 2, 0)], axis=2)
    image = Image.fromarray(pixels)
    return np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR))


def _each(function, paths, container, label):
    """Yield each path with function(path); a progress bar, in bytes, is drawn if it takes long."""
    sizes = [os.path.getsize(path) if os.path.isfile(path) else 0 for path in paths]
    label = f"{os.path.basename(os.path.abspath(container))}: {label}"
    with progress_bar(label, sum(sizes), _BAR_DELAY) as advance:
        for path, n_bytes in zip(paths, sizes):
            yield path, function(path)
            advance(n_bytes)
