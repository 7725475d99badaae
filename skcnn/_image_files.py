"""Image files in one folder for each class, as one array.

Two passes bound the memory: the first reads only headers, and finds all files that cannot be
loaded before any pixel is decoded; the second decodes one image at a time.
"""

import mmap
import os
import shutil
import tempfile
import time
import warnings
from itertools import chain
from math import prod

import numpy as np
from sklearn.utils import Bunch

from ._arguments import check_switches, shown
from ._images import is_whole_number
from ._progress import ProgressBar

# Not those that run a program (EPS) or hold drawings, icons, films or measurements.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "JPEG2000", "PPM", "TIFF", "WEBP")
_MODES = "1 L LA P PA RGB RGBA RGBa RGBX CMYK YCbCr I;16 I;16L I;16B".split()
_OF_SYSTEMS = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx"}

_LARGEST_IN_MEMORY = 2**30  # bytes of all images together
_QUIET = 2.0  # seconds before there is a progress bar
_NAMED = 5  # files that an error names


def load_image_files(
    container_path: str | os.PathLike[str],
    *,
    size: tuple[int, int] | None = None,
    grey: bool = False,
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
    GIF, JPEG 2000, PPM, TIFF or WebP.

    Needs Pillow: ``pip install pillow``.

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

    Returns
    -------
    dataset : Bunch
        Images in the order of their classes, and of their file names in each class.

        ``images``
            ndarray of shape (n, H, W, 3), or (n, H, W) if ``grey``, uint8; intensities, 0-255.
            If all images together take more than 1 GiB, the array is a memory map of a temporary
            file, which is removed with the last view of the array. The environment variable
            TMPDIR chooses the folder of the file.
        ``data``
            ndarray of shape (n, n_features), uint8, a view of ``images``.
        ``target``
            ndarray of shape (n,), int64; class numbers.
        ``target_names``
            list of str; the name of each class number, sorted.
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
        images or damaged, or if images are of several sizes and ``size`` is None.

    Notes
    -----
    Images are rotated and mirrored as their EXIF orientation says. Transparent images are
    composited onto white. 16-bit grey levels are divided by 257, so that white is 255. Pixels that
    Pillow reads as 32-bit numbers (modes I and F, also of 16-bit PGM files) are refused, because
    their range is unknown. Colour profiles are ignored, also in the conversion of CMYK. Of an
    animation, or of a file of several pages, the first image is loaded.

    A file whose header declares more than ``PIL.Image.MAX_IMAGE_PIXELS`` pixels (some 89 million)
    is refused before it is decoded.

    Examples
    --------
    >>> from skcnn.datasets import load_image_files
    >>> photos = load_image_files("photos", size=(64, 64))  # doctest: +SKIP
    >>> photos.images.shape, photos.target_names  # doctest: +SKIP
    ((3, 64, 64, 3), ['cat', 'dog'])
    """
    _check_arguments(container_path, size, grey)
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("load_image_files needs Pillow: pip install pillow") from error
    container = os.fspath(container_path)
    target_names, paths, target = _list_files(container)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        common_size = _check_headers(container, paths, size)
        images = _read_images(container, paths, size, common_size if grey else (*common_size, 3))
    return Bunch(
        images=images,
        data=images.reshape(len(images), prod(images.shape[1:])),
        target=target,
        target_names=target_names,
        filenames=np.array(paths),
        DESCR=f"{len(images)} images of {len(target_names)} classes, from {container}",
    )


def _check_arguments(container_path, size, grey):
    """Refuse arguments of a wrong type, and sizes that no image has."""
    if not isinstance(container_path, str | os.PathLike):
        raise TypeError(f"container_path={shown(container_path)} must be a str or path-like.")
    check_switches(grey=grey)
    sides = size if isinstance(size, tuple | list) and len(size) == 2 else [None]
    if size is not None and not all(is_whole_number(k) and 1 <= k < 2**31 for k in sides):
        raise ValueError(f"size={shown(size)} must be (height, width), in whole pixels, or None.")


def _list_files(container):
    """Return the names of the classes, the paths of all files, and the class of each."""
    folders = [path for path in _visible(container) if os.path.isdir(path)]
    if not folders:
        raise ValueError(f"{container!r} must have a subfolder for each class, and has none.")
    files = [_visible(folder) for folder in folders]
    empty = [repr(folder) for folder, paths in zip(folders, files) if not paths]
    if empty:
        raise ValueError(f"There are no images in {_some(empty)}: remove empty folders.")
    target = np.repeat(np.arange(len(files), dtype=np.int64), [len(paths) for paths in files])
    return [os.path.basename(path) for path in folders], list(chain(*files)), target


def _visible(folder):
    """Return the sorted paths of what is in a folder, except hidden files and those of systems."""
    names = [name for name in sorted(os.listdir(folder)) if name.lower() not in _OF_SYSTEMS]
    return [os.path.join(folder, name) for name in names if not name.startswith(".")]


def _some(items):
    """Return the first few items for an error, and how many more there are."""
    more = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return ", ".join(items[:_NAMED]) + more


def _check_headers(container, paths, size):
    """Return the one (height, width) of all images; one error for all that cannot be loaded."""
    problems, firsts = [], {}  # the first file of each size
    for path, (found, problem) in _each(_read_header, paths, container, "headers"):
        if problem:
            problems.append(f"{path!r} ({problem})")
        firsts.setdefault(found, path)
    if problems:
        raise ValueError(
            f"{len(problems)} of {len(paths)} files in the subfolders of {container!r} cannot be "
            f"loaded: {_some(problems)}. Move them elsewhere, or convert them."
        )
    if size is None and len(firsts) > 1:
        examples = [f"{path!r} {H} x {W}" for (H, W), path in firsts.items()]
        raise ValueError(
            f"The images of {container!r} are of {len(firsts)} sizes, height x width: "
            f"{_some(examples)}. Resize them to one, with size=(height, width)."
        )
    return tuple(map(int, size or [*firsts][0]))


def _read_header(path):
    """Return the (height, width) that a file declares, and None or why it cannot be loaded."""
    from PIL import Image, UnidentifiedImageError

    if not os.path.isfile(path):  # reading from a pipe, say, would wait forever
        return None, "not a regular file"
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.mode not in _MODES:
                return None, f"pixels of the mode {image.mode!r}, whose range is unknown"
            width, height = image.size
            # Pillow swaps the sides of a TIFF itself; it would decode a PNG to look for EXIF data.
            has_exif = image.format != "TIFF" and not image.info.keys().isdisjoint({"exif", "xmp"})
            is_turned = has_exif and image.getexif().get(0x0112) in (5, 6, 7, 8)
            return (width, height) if is_turned else (height, width), None
    except UnidentifiedImageError:
        return None, "not an image of a supported format"
    except Exception as error:  # of any type, for a damaged file
        return None, str(error) or type(error).__name__


def _read_images(container, paths, size, shape):
    """Return the pixels of all images, of a shape each: in memory, or mapped if there are many."""
    pixels = _each(lambda path: _read_image(path, size, shape), paths, container, "pixels")
    n_bytes = len(paths) * prod(shape)
    if n_bytes <= _LARGEST_IN_MEMORY:
        images = np.empty((len(paths), *shape), dtype=np.uint8)
        for k, (_, image) in enumerate(pixels):
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
        for _, image in pixels:  # written: assigning to a map would crash where the disk is full
            file.write(image)
        file.flush()
        # Not an np.memmap: joblib would send its workers the name of the file, which has none.
        return np.frombuffer(mmap.mmap(file.fileno(), n_bytes), np.uint8).reshape(-1, *shape)


def _read_image(path, size, shape):
    """Return the pixels of an image as an array of a shape, uint8."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=_FORMATS) as image:
            if size is not None:  # a JPEG file is decoded to fewer pixels, in less time and memory
                image.draft(None, (2 * max(size), 2 * max(size)))
            ImageOps.exif_transpose(image, in_place=True)
            converted = image
            if image.mode.startswith("I;16"):
                levels = np.asarray(image).astype(np.uint32)
                levels[levels == image.info.get("transparency")] = 65535
                converted = Image.fromarray(((levels + 128) // 257).astype(np.uint8))
            elif image.has_transparency_data:
                opaque = image.convert("RGBA")
                converted = Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque)
            converted = converted.convert("RGB" if len(shape) == 3 else "L")
        if size is not None:
            converted = converted.resize(shape[1::-1], Image.Resampling.BILINEAR)
        pixels = np.asarray(converted)
        if pixels.shape != shape:  # EXIF data after the pixels, or another file than before
            found, expected = (f"{H} x {W}" for H, W in (pixels.shape[:2], shape[:2]))
            raise ValueError(f"it is {found} and not {expected}: give size=(height, width)")
        return pixels
    except Exception as error:  # of any type, for a damaged file
        raise ValueError(
            f"{path!r} cannot be loaded: {error}. Move it elsewhere, or replace it."
        ) from error


def _each(function, paths, container, label):
    """Yield each path with function(path), and draw a progress bar, in bytes, if it takes long."""
    sizes = [os.path.getsize(path) if os.path.isfile(path) else 0 for path in paths]
    bar = ProgressBar(f"{os.path.basename(os.path.abspath(container))}: {label}", sum(sizes) or 1)
    start, unreported = time.monotonic(), 0
    try:
        for path, n_bytes in zip(paths, sizes):
            yield path, function(path)
            unreported += n_bytes
            if time.monotonic() - start > _QUIET:
                bar.update(unreported)
                unreported = 0
    finally:
        bar.close()
