"""Loading folders of image files: written by Pillow, or damaged by hand."""

import gc
import io
import os
import pickle
import shutil
import struct
import sys
import tempfile
import zlib
from contextlib import redirect_stderr

import numpy as np
import pytest
from joblib import Parallel, delayed
from numpy.testing import assert_allclose, assert_array_equal

from skcnn import datasets
from skcnn.datasets import _image_files, load_image_files

Image = pytest.importorskip("PIL.Image", reason="needs Pillow")

PIXELS = np.random.RandomState(0).randint(256, size=(6, 8, 5, 3), dtype=np.uint8)
RGB, GREY = PIXELS[0], PIXELS[0, :, :, 0]
SIXTEEN = np.linspace(0, 65535, 40).astype(np.uint16).reshape(8, 5)


@pytest.fixture
def container(tmp_path):
    """Six images of two classes, written in another order than that of their names."""
    folder = tmp_path / "photos"
    for k in (5, 0, 3, 1, 4, 2):
        save(PIXELS[k], folder / ("cat", "dog")[k // 3] / f"{k}.png")
    return folder


def save(image, path, **params):
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    image.save(path, **params)


def load_one(tmp_path, image, name="1.png", size=None, grey=False, dtype="uint8", **params):
    """Return the pixels of one image that is saved and loaded."""
    path = tmp_path / "one" / "class" / name
    if isinstance(image, bytes):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
    else:
        save(image, path, **params)
    return load_image_files(tmp_path / "one", size=size, grey=grey, dtype=dtype).images[0]


def orientation(number):
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


def as_stored(upright, number):
    """The pixels of a file with an orientation, of which the upright image is known."""
    return {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[number]


def png_bytes(width, height, depth=8, colour=2, rows=b""):
    """A PNG file whose header may declare more pixels than it has."""

    def chunk(kind, content):
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def tiff_bytes(pixels, tags=(), order="<", bits=None, planes=1):
    """An uncompressed TIFF file of an array (H, W) or (H, W, bands), or of packed rows of bytes."""
    H, W, bands = np.atleast_3d(pixels).shape
    bits = bits or 8 * pixels.dtype.itemsize
    if planes > 1:
        pixels = np.moveaxis(pixels, 2, 0)
    content = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    n_bytes = len(content) // planes
    fields = {
        **{256: [W * 8 * pixels.dtype.itemsize // bits], 257: [H], 258: [bits] * bands, 259: [1]},
        **{262: [2 if bands > 2 else 1], 273: [8 + k * n_bytes for k in range(planes)]},
        **{277: [bands], 278: [H], 279: [n_bytes] * planes, 284: [1 if planes == 1 else 2]},
        **{tag: np.atleast_1d(value).tolist() for tag, value in dict(tags).items()},
    }
    start = 8 + len(content)
    entries, rest = b"", b""
    for tag, values in sorted(fields.items()):
        packed = struct.pack(f"{order}{len(values)}H", *values)
        if len(packed) > 4:
            at = start + 6 + 12 * len(fields) + len(rest)
            packed, rest = struct.pack(f"{order}I", at), rest + packed
        entries += struct.pack(f"{order}HHI", tag, 3, len(values)) + packed.ljust(4, b"\0")
    header = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, start)
    n_entries = struct.pack(f"{order}H", len(fields))
    return header + content + n_entries + entries + b"\0" * 4 + rest


# What is loaded


def test_what_the_dataset_holds(container):
    dataset = load_image_files(container)
    assert_array_equal(dataset.images, PIXELS)
    assert dataset.images.dtype == np.uint8 and dataset.images.flags.c_contiguous
    assert_array_equal(dataset.data, PIXELS.reshape(6, -1))
    assert np.shares_memory(dataset.data, dataset.images)
    assert_array_equal(dataset.target, [0, 0, 0, 1, 1, 1])
    assert dataset.target.dtype == np.int64
    assert dataset.target_names == ["cat", "dog"]
    names = [os.path.join(container, "cat" if k < 3 else "dog", f"{k}.png") for k in range(6)]
    assert_array_equal(dataset.filenames, names)
    assert dataset.filenames.dtype.kind == "U"
    assert dataset.DESCR == f"6 images of 2 classes, from {container}"


def test_it_is_one_of_the_public_names():
    assert "load_image_files" in datasets.__all__
    assert datasets.load_image_files is _image_files.load_image_files


def test_the_folder_may_be_a_str(container):
    assert_array_equal(load_image_files(str(container)).images, PIXELS)


def test_grey(container):
    dataset = load_image_files(container, grey=True)
    assert dataset.images.shape == (6, 8, 5) and dataset.data.shape == (6, 40)
    assert np.shares_memory(dataset.data, dataset.images)
    assert_allclose(dataset.images, PIXELS @ [0.299, 0.587, 0.114], atol=1)


@pytest.mark.parametrize(
    "name", [".hidden", "._1.png", "Thumbs.db", "thumbs.db", "desktop.ini", "ehthumbs.db"]
)
def test_hidden_files_and_those_of_systems_are_left_out(container, name):
    (container / "cat" / name).write_bytes(b"no image")
    assert load_image_files(container).images.shape == (6, 8, 5, 3)


@pytest.mark.parametrize("name", [".git", "__MACOSX"])
def test_hidden_folders_and_those_of_systems_are_left_out(container, name):
    save(RGB, container / name / "1.png")
    assert load_image_files(container).target_names == ["cat", "dog"]


def test_files_in_no_subfolder_are_left_out(container):
    (container / "README.txt").write_text("cats and dogs")
    assert len(load_image_files(container).images) == 6


def test_links_are_followed(container):
    (container / "cat" / "6.png").symlink_to(container / "dog" / "3.png")
    assert_array_equal(load_image_files(container).images[3], PIXELS[3])


def test_names_of_any_letters(tmp_path):
    name = "кошка 'a\n{b} %s"
    save(RGB, tmp_path / name / "日本.png")
    dataset = load_image_files(tmp_path)
    assert dataset.target_names == [name]
    assert dataset.filenames[0].endswith("日本.png")


# Sizes


def test_resizing_is_the_bilinear_one_of_pillow(container):
    images = load_image_files(container, size=(4, 10)).images
    assert images.shape == (6, 4, 10, 3)
    for pixels, image in zip(PIXELS, images):
        expected = Image.fromarray(pixels).resize((10, 4), Image.Resampling.BILINEAR)
        assert_array_equal(image, np.asarray(expected))


def test_a_smaller_image_has_the_means_of_the_pixels(tmp_path):
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 200
    assert_allclose(load_one(tmp_path, stripes, size=(4, 4), grey=True), 100, atol=10)


def test_images_of_several_sizes_are_named_with_their_sizes(container):
    save(RGB[:4], container / "dog" / "4.png")
    save(RGB[:, :2], container / "dog" / "6.png")
    with pytest.raises(ValueError, match="of 3 sizes, height x width") as raised:
        load_image_files(container)
    message = str(raised.value)
    assert "0.png' 8 x 5, " in message
    assert "4.png' 4 x 5, " in message
    assert "6.png' 8 x 2. " in message
    assert "size=(height, width)" in message
    assert load_image_files(container, size=(8, 5)).images.shape == (7, 8, 5, 3)


def test_of_many_sizes_a_few_are_named(container):
    for k in range(1, 9):
        save(np.resize(RGB, (k, 9, 3)), container / "dog" / f"of {k} rows.png")
    with pytest.raises(ValueError, match="of 9 sizes.* and 4 more"):
        load_image_files(container)


def test_a_large_jpeg_file_is_decoded_to_fewer_pixels(tmp_path, monkeypatch):
    decoded = []
    ramp = np.linspace(0, 255, 512).astype(np.uint8) * np.ones((512, 1), np.uint8)
    from_file = Image.Image.resize
    monkeypatch.setattr(
        Image.Image,
        "resize",
        lambda image, *args: decoded.append(image.size) or from_file(image, *args),
    )
    image = load_one(tmp_path, ramp, "1.jpg", size=(16, 32), grey=True, quality=95)
    assert decoded == [(64, 64)]
    whole = from_file(Image.fromarray(ramp), (32, 16), Image.Resampling.BILINEAR)
    assert_allclose(image, np.asarray(whole).astype(int), atol=3)


@pytest.mark.parametrize("name", ["1.jpg", "1.png", "1.tif", "1.webp"])
@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("size", [None, (10, 20)])
def test_images_are_turned_upright(tmp_path, name, number, size):
    upright = np.kron([[0, 80, 160], [40, 120, 240]], np.ones((16, 16))).astype(np.uint8)
    stored = np.ascontiguousarray(as_stored(upright, number))
    saved = Image.fromarray(stored).convert("RGB")
    image = load_one(tmp_path, saved, name, size=size, exif=orientation(number))
    expected = Image.fromarray(upright).resize((size or upright.shape)[::-1])
    assert image.shape[:2] == expected.size[::-1]
    assert np.abs(image - np.asarray(expected, dtype=float)[:, :, None]).mean() < 12


def test_sizes_are_those_of_upright_images(tmp_path):
    save(RGB, tmp_path / "a" / "1.jpg", exif=orientation(1))
    save(RGB.transpose(1, 0, 2).copy(), tmp_path / "a" / "2.jpg", exif=orientation(6))
    assert load_image_files(tmp_path).images.shape == (2, 8, 5, 3)


@pytest.mark.parametrize("kind", ["grey", "16 bits", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("size", [None, (5, 7)])
@pytest.mark.parametrize("order", "<>")
def test_a_tiff_file_that_is_turned_and_not_square(tmp_path, kind, number, size, order):
    wide = np.arange(12 * 16).reshape(12, 16)
    upright = {
        "grey": wide.astype("u1"),
        "16 bits": (300 * wide).astype("u2"),
        "RGB": np.stack([wide, 255 - wide, wide // 2], axis=2).astype("u1"),
        "RGBA": np.stack([wide, 255 - wide, wide // 2, 0 * wide + 255], axis=2).astype("u1"),
        "CMYK": np.stack([wide, 255 - wide, wide // 2, wide // 3], axis=2).astype("u1"),
    }[kind]
    photometric = {262: 5} if kind == "CMYK" else {}
    expected = load_one(tmp_path, tiff_bytes(upright, photometric, order), "1.tif", size=size)
    if size is None and kind in ("grey", "RGB"):
        assert_array_equal(expected[..., 0], wide)
    stored = np.ascontiguousarray(as_stored(upright, number))
    content = tiff_bytes(stored, {**photometric, 274: number}, order)
    assert_array_equal(load_one(tmp_path, content, "1.tif", size=size), expected)


@pytest.mark.parametrize("number", [0, 9])
def test_an_orientation_without_a_meaning_is_that_of_an_upright_image(tmp_path, number):
    assert_array_equal(load_one(tmp_path, RGB, exif=orientation(number)), RGB)


def test_exif_data_after_the_pixels(tmp_path):
    save(RGB, tmp_path / "a" / "1.png", exif=orientation(6))
    path = tmp_path / "a" / "1.png"
    content = path.read_bytes()
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4])
    path.write_bytes(content[:start] + content[end:-12] + content[start:end] + content[-12:])
    with pytest.raises(ValueError, match="1.png' .* 5 x 8 and not 8 x 5: .*size="):
        load_image_files(tmp_path)
    assert load_image_files(tmp_path, size=(5, 8)).images.shape == (1, 5, 8, 3)


# Kinds of pixels


def test_grey_levels_as_colours(tmp_path):
    assert_array_equal(load_one(tmp_path, GREY), np.repeat(GREY[:, :, None], 3, axis=2))
    assert_array_equal(load_one(tmp_path, GREY, grey=True), GREY)


def test_black_and_white(tmp_path):
    image = load_one(
        tmp_path, Image.fromarray(GREY).point(lambda v: 255 * (v > 99), "1"), grey=True
    )
    assert_array_equal(image, np.where(GREY > 99, 255, 0))


@pytest.mark.parametrize("name", ["1.png", "1.gif", "1.bmp"])
def test_palettes(tmp_path, name):
    image = Image.fromarray(np.arange(40, dtype=np.uint8).reshape(8, 5))
    image.putpalette(PIXELS.ravel()[:768].tolist())
    assert image.mode == "P"
    assert_array_equal(load_one(tmp_path, image, name), PIXELS.ravel()[:120].reshape(8, 5, 3))


def test_transparent_parts_are_white(tmp_path):
    alpha = np.linspace(0, 255, 40).astype(np.uint8).reshape(8, 5, 1)
    image = load_one(tmp_path, np.concatenate([RGB, alpha], axis=2))
    assert_allclose(image, 255 + (RGB.astype(float) - 255) * alpha / 255, atol=1)
    assert_array_equal(image[0, 0], 255)
    assert_array_equal(image[-1, -1], RGB[-1, -1])


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("mode", ["L", "RGB", "P", "LA"])
def test_transparency_of_other_modes(tmp_path, mode, dtype):
    image = Image.new(mode, (5, 8), 0)
    image.paste(9 if mode == "P" else "red" if mode == "RGB" else 90, (0, 0, 2, 8))
    if mode == "P":
        image.putpalette(list(range(90)))
    params = {} if mode == "LA" else {"transparency": (0, 0, 0) if mode == "RGB" else 0}
    if mode == "LA":
        image.putalpha(Image.fromarray(np.uint8(255 * (np.arange(5) < 2)) * np.ones((8, 1), "u1")))
    pixels = load_one(tmp_path, image, dtype=dtype, **params)
    assert_array_equal(pixels[:, 2:], 255)
    assert (pixels[:, :2] != 255).any(axis=2).all()


@pytest.mark.parametrize("name", ["1.png", "1.tif"])
@pytest.mark.parametrize("size", [None, (8, 5)])
def test_sixteen_bits(tmp_path, name, size):
    image = load_one(tmp_path, SIXTEEN, name, size=size, grey=True)
    assert_allclose(image, SIXTEEN / 257, atol=0.51)
    assert image[0, 0] == 0 and image[-1, -1] == 255


def test_transparency_of_sixteen_bits(tmp_path):
    image = Image.fromarray(SIXTEEN)
    pixels = load_one(tmp_path, image, grey=True, transparency=int(SIXTEEN[2, 2]))
    expected = np.where(SIXTEEN == SIXTEEN[2, 2], 255, SIXTEEN / 257)
    assert_allclose(pixels, expected, atol=0.51)


def test_sixteen_bits_of_the_other_byte_order(tmp_path):
    image = load_one(
        tmp_path,
        Image.frombytes("I;16B", (5, 8), SIXTEEN.astype(">u2").tobytes()),
        "1.tif",
        grey=True,
    )
    assert_allclose(image, SIXTEEN / 257, atol=0.51)


def test_cmyk(tmp_path):
    ink = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert_allclose(load_one(tmp_path, ink, "1.tif"), np.broadcast_to([255, 0, 0], (16, 16, 3)))
    jpeg = load_one(tmp_path, ink, "1.tif", size=(2, 2), grey=True)
    assert_allclose(jpeg, 76, atol=1)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_white_is_zero_in_any_number_of_bits(tmp_path, dtype):
    white = np.uint16(65535 if dtype == "uint16" else 255)
    for levels in (GREY, GREY * np.uint16(257)):
        content = tiff_bytes(levels, {262: 0})
        pixels = load_one(tmp_path, content, "1.tif", grey=True, dtype=dtype)
        assert_array_equal(pixels, white - GREY * (white // 255))
    bits = np.packbits(GREY[:, :1] > np.arange(0, 256, 32), axis=1)
    pixels = load_one(tmp_path, tiff_bytes(bits, {262: 0}, bits=1), "1.tif", grey=True, dtype=dtype)
    assert_array_equal(pixels, np.where(GREY[:, :1] > np.arange(0, 256, 32), 0, white))


def test_white_is_zero_in_a_compressed_file(tmp_path):
    image = Image.fromarray(SIXTEEN)
    tags = {262: 0}  # Pillow writes it without inverting levels of 16 bits
    pixels = load_one(
        tmp_path, image, "1.tif", grey=True, compression="tiff_lzw", tiffinfo=tags, dtype="uint16"
    )
    assert_array_equal(pixels, 65535 - SIXTEEN)


@pytest.mark.parametrize(
    ("pixels", "tags", "message"),
    [
        (GREY.view("i1"), {339: 2}, "signed levels of 8 bits"),
        (SIXTEEN.view("i2"), {339: 2}, "mode 'I', whose range is unknown"),
        (GREY.astype("u4"), {}, "mode 'I', whose range"),
        (GREY.astype("i4"), {339: 2}, "mode 'I', whose range"),
        (GREY.astype("f4"), {339: 3}, "mode 'F', whose range"),
        (GREY.astype("f2"), {339: 3}, "not an image of a supported format"),
    ],
)
def test_tiff_files_of_numbers_without_a_white_are_refused(tmp_path, pixels, tags, message):
    for dtype in ("uint8", "float32"):
        with pytest.raises(ValueError, match=message):
            load_one(tmp_path, tiff_bytes(pixels, tags), "1.tif", dtype=dtype)


def test_white_of_twelve_bits(tmp_path):
    pairs = np.array([[0, 4095], [100, 2048]])
    a, b = pairs.T
    packed = np.stack([a >> 4, (a & 15) << 4 | b >> 8, b & 255], axis=1).astype("u1")
    content = tiff_bytes(packed, bits=12)
    pixels = load_one(tmp_path, content, "1.tif", grey=True, dtype="uint16")
    assert_allclose(pixels, pairs * 65535 / 4095, atol=0.51)
    assert_allclose(load_one(tmp_path, content, "1.tif", grey=True), pairs * 255 / 4095, atol=0.51)


@pytest.mark.parametrize("bands", [3, 4])
def test_bands_in_separate_planes(tmp_path, bands):
    opaque = np.dstack([RGB, np.full((8, 5), 255, "u1")])[:, :, :bands]
    tags = {338: 2} if bands == 4 else {}
    assert_array_equal(load_one(tmp_path, tiff_bytes(opaque, tags, planes=bands), "1.tif"), RGB)


def test_one_plane(tmp_path):
    assert_array_equal(load_one(tmp_path, tiff_bytes(GREY, {284: 2}), "1.tif", grey=True), GREY)
    bits = np.packbits(GREY > 99, axis=1)
    pixels = load_one(tmp_path, tiff_bytes(bits, {284: 2}, bits=1), "1.tif", grey=True)
    assert_array_equal(pixels[:, :5], np.where(GREY > 99, 255, 0))


@pytest.mark.parametrize(
    ("pixels", "params"),
    [
        (257 * RGB.astype("u2"), {"planes": 3}),
        (
            257 * PIXELS[:4, :, :, 0].transpose(1, 2, 0).astype("u2"),
            {"planes": 4, "tags": {338: 2}},
        ),
        (SIXTEEN, {"tags": {284: 2}}),
        (GREY, {"tags": {284: 2, 262: 0}}),
        (GREY, {"tags": {284: 2, 266: 2}}),
        (GREY, {"tags": {284: 2}, "bits": 4}),
        (RGB[:, :, :2], {"planes": 2, "tags": {338: 2}}),
    ],
)
def test_planes_that_pillow_reads_wrongly_are_refused(tmp_path, pixels, params):
    with pytest.raises(ValueError, match="separate planes"):
        load_one(tmp_path, tiff_bytes(pixels, **params), "1.tif")


def test_premultiplied_grey(tmp_path):
    open_info = pytest.importorskip("PIL.TiffImagePlugin").OPEN_INFO
    if "La" not in [mode for mode, _ in open_info.values()]:
        pytest.skip("needs Pillow that reads premultiplied grey")
    alpha = np.uint8([[0, 51, 255]])
    content = tiff_bytes(np.stack([alpha // 3, alpha], axis=2), {338: 1})
    pixels = load_one(tmp_path, content, "1.tif", grey=True)
    assert_allclose(pixels, [[255, 255 - 51 + 17, 85]], atol=2)


# The type of the intensities


def test_the_default_is_eight_bits(container):
    for dtype in ("uint8", np.uint8, np.dtype("u1")):
        assert_array_equal(load_image_files(container, dtype=dtype).images, PIXELS)


@pytest.mark.parametrize("grey", [False, True])
def test_eight_bits_in_other_types(container, grey):
    images = load_image_files(container, grey=grey).images
    unrounded = load_image_files(container, grey=grey, dtype="float32")
    assert unrounded.images.dtype == unrounded.data.dtype == np.float32
    expected = PIXELS @ [0.299, 0.587, 0.114] if grey else images
    assert_allclose(unrounded.images, expected, rtol=1e-6)
    wide = load_image_files(container, grey=grey, dtype=">u2").images
    assert wide.dtype == np.uint16
    assert_array_equal(wide, np.rint(257 * unrounded.images))
    assert np.shares_memory(unrounded.images, unrounded.data)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_grey_pixels_stay_whole_numbers(tmp_path, mode):
    image = Image.fromarray(np.arange(256, dtype="u1").reshape(16, 16)).convert(mode)
    expected = load_one(tmp_path, image, grey=True)
    assert_array_equal(load_one(tmp_path, image, grey=True, dtype="float32"), expected)
    assert_array_equal(load_one(tmp_path, image, grey=True, dtype="uint16"), expected * 257.0)


@pytest.mark.parametrize("name", ["1.png", "1.tif", "1.pgm"])
@pytest.mark.parametrize("grey", [False, True])
def test_sixteen_bits_are_kept(tmp_path, name, grey):
    expected = SIXTEEN if grey else np.repeat(SIXTEEN[:, :, None], 3, axis=2)
    pixels = load_one(tmp_path, SIXTEEN, name, grey=grey, dtype="uint16")
    assert_array_equal(pixels, expected)
    pixels = load_one(tmp_path, SIXTEEN, name, grey=grey, dtype="float32")
    assert_allclose(pixels, expected / 257, rtol=1e-6)
    assert_array_equal(np.rint(257 * pixels), expected)


def test_sixteen_bits_are_resized_unrounded(tmp_path):
    few = np.tile(np.uint16([[100, 103], [105, 108]]), (8, 8))
    pixels = load_one(tmp_path, few, "1.tif", size=(2, 2), grey=True, dtype="float32")
    assert_allclose(257 * pixels, 104, atol=0.5)
    pixels = load_one(tmp_path, few, "1.tif", size=(2, 2), dtype="uint16")
    assert_array_equal(pixels, np.full((2, 2, 3), 104))


@pytest.mark.parametrize("size", [(4, 10), (3, 3)])
def test_colours_are_resized_unrounded(container, size):
    images = load_image_files(container, size=size, dtype="float32").images
    for pixels, image in zip(PIXELS, images):
        for k in range(3):
            band = Image.fromarray(pixels[:, :, k].astype(np.float32))
            band = band.resize(size[::-1], Image.Resampling.BILINEAR)
            assert_allclose(image[:, :, k], np.asarray(band))
    assert (images != np.rint(images)).any()
    assert_allclose(load_image_files(container, size=size).images, images, atol=1.1)


def test_transparent_parts_are_white_unrounded(tmp_path):
    alpha = np.linspace(0, 255, 40).astype(np.uint8).reshape(8, 5, 1)
    image = load_one(tmp_path, np.concatenate([RGB, alpha], axis=2), dtype="float32")
    assert_allclose(image, 255 + (RGB.astype(float) - 255) * alpha / 255, atol=1e-4)
    image = Image.fromarray(SIXTEEN)
    pixels = load_one(tmp_path, image, grey=True, dtype="uint16", transparency=int(SIXTEEN[2, 2]))
    assert_array_equal(pixels, np.where(SIXTEEN == SIXTEEN[2, 2], 65535, SIXTEEN))


def test_sixteen_bits_are_turned_upright(tmp_path):
    image = Image.fromarray(np.ascontiguousarray(np.rot90(SIXTEEN)))
    pixels = load_one(tmp_path, image, grey=True, dtype="uint16", exif=orientation(6))
    assert_array_equal(pixels, SIXTEEN)


@pytest.mark.parametrize("maxval", [4095, 65535])
@pytest.mark.parametrize("plain", [False, True])
def test_white_of_a_pgm_file_is_what_it_declares(tmp_path, maxval, plain):
    levels = np.linspace(0, maxval, 40).astype("u2").reshape(8, 5)
    content = " ".join(map(str, levels.ravel())).encode()
    if not plain:
        content = levels.astype(">u2").tobytes()
    content = b"P%d 5 8 %d\n" % (2 if plain else 5, maxval) + content + b"\n" * plain
    pixels = load_one(tmp_path, content, "1.pgm", grey=True)
    assert_allclose(pixels, levels / maxval * 255, atol=0.51)
    pixels = load_one(tmp_path, content, "1.pgm", grey=True, dtype="uint16")
    assert_allclose(pixels, levels / maxval * 65535, atol=0.51)


WIDE = 257 * RGB.astype("u2")
WIDE_COLOURS = {
    "1.tif": tiff_bytes(WIDE),
    "2.tif": tiff_bytes(WIDE, order=">"),
    "1.ppm": b"P6 5 8 65535\n" + WIDE.astype(">u2").tobytes(),
    "1.png": png_bytes(
        5, 8, 16, rows=b"".join(b"\0" + row.tobytes() for row in WIDE.astype(">u2"))
    ),
    "2.png": png_bytes(
        5,
        8,
        16,
        4,
        b"".join(
            b"\0" + row.tobytes()
            for row in np.dstack([WIDE[:, :, 0], WIDE[:, :, 0] * 0 + 65535]).astype(">u2")
        ),
    ),
}


@pytest.mark.parametrize("name", WIDE_COLOURS)
def test_colours_of_sixteen_bits_are_refused_where_pillow_would_cut_them(tmp_path, name):
    content = WIDE_COLOURS[name]
    pixels = load_one(tmp_path, content, name)
    assert_array_equal(pixels[:, :, 0], RGB[:, :, 0])
    for dtype in ("uint16", "float32"):
        with pytest.raises(ValueError, match=f"16-bit colours.* dtype='{dtype}' needs"):
            load_one(tmp_path, content, name, dtype=dtype)


@pytest.mark.parametrize("max_level", [100, 4095])
def test_few_levels_of_sixteen_bits_warn(container, max_level):
    levels = np.minimum(SIXTEEN, max_level)
    for k in (6, 7):
        save(levels // (k - 5), container / "cat" / f"{k}.png")
    with pytest.warns(UserWarning, match=f"up to {max_level} of 65535.*uint16") as warned:
        load_image_files(container)
    assert len(warned) == 1 and warned[0].filename == __file__
    n_levels = len(np.unique(np.rint(np.arange(max_level + 1) / 257)))
    assert f'"uint8" keeps {n_levels}.' in str(warned[0].message)
    for dtype in ("uint16", "float32"):
        load_image_files(container, dtype=dtype)
    save(np.maximum(levels, 4096), container / "cat" / "6.png")
    load_image_files(container)


def test_few_levels_of_sixteen_bits_warn_whatever_white_is(tmp_path):
    for content in (tiff_bytes(SIXTEEN // 256, {262: 0}), tiff_bytes(WIDE // 256)):
        with pytest.warns(UserWarning, match="levels up to"):
            load_one(tmp_path, content, "1.tif")


def test_black_images_of_sixteen_bits_do_not_warn(tmp_path):
    assert_array_equal(load_one(tmp_path, 0 * SIXTEEN), 0)


def test_each_file_is_opened_twice(container, monkeypatch):
    save(SIXTEEN, container / "cat" / "6.png")
    opened = []
    open_image = Image.open
    monkeypatch.setattr(
        Image, "open", lambda file, **params: opened.append(file.name) or open_image(file, **params)
    )
    load_image_files(container)
    assert len(opened) == 14 and len(set(opened)) == 7


@pytest.mark.parametrize("dtype", ["float64", int, None, "uint7", 3, [], "<f2"])
def test_a_wrong_type_is_named(container, dtype):
    with pytest.raises(ValueError, match='^dtype=.* must be "uint8", "uint16" or "float32"'):
        load_image_files(container, dtype=dtype)


# Formats


def test_avif(tmp_path):
    pytest.importorskip("PIL._avif", reason="needs Pillow with AVIF")
    ramp = np.linspace(0, 255, 64).astype("u1") * np.ones((48, 1), "u1")
    for number in (1, 6):
        stored = Image.fromarray(np.ascontiguousarray(as_stored(ramp, number)))
        for size in (None, (24, 32)):
            pixels = load_one(
                tmp_path, stored, "1.avif", size=size, quality=95, exif=orientation(number)
            )
            expected = np.asarray(Image.fromarray(ramp).resize((size or ramp.shape)[::-1]))
            assert np.abs(pixels[:, :, 0] - expected.astype(float)).mean() < 3


def test_heic(tmp_path, monkeypatch):
    heif = pytest.importorskip("pillow_heif", reason="needs pillow-heif")
    monkeypatch.setattr(Image, "OPEN", Image.OPEN.copy())
    monkeypatch.setattr(Image, "ID", Image.ID.copy())
    heif.register_heif_opener()
    ramp = np.linspace(0, 255, 64).astype("u1") * np.ones((48, 1), "u1")
    for number in (1, 6):
        stored = Image.fromarray(np.ascontiguousarray(as_stored(ramp, number))).convert("RGB")
        pixels = load_one(
            tmp_path, stored, "1.heic", quality=95, exif=orientation(number).tobytes()
        )
        assert np.abs(pixels[:, :, 0] - ramp.astype(float)).mean() < 3


def test_a_reader_of_heif_is_used_where_it_is_registered(container, monkeypatch):
    path = container / "cat" / "6.HEIC"
    path.write_bytes(b"a reader of the test" + (container / "cat" / "0.png").read_bytes())
    with pytest.raises(ValueError, match="supported format; HEIC needs pillow_heif.register_heif"):
        load_image_files(container)

    def reader(file, filename):
        file.seek(20)
        return Image.OPEN["PNG"][0](io.BytesIO(file.read()))

    monkeypatch.setitem(Image.OPEN, "HEIF", (reader, lambda prefix: prefix[:8] == b"a reader"))
    assert_array_equal(load_image_files(container).images[3], PIXELS[0])


@pytest.mark.parametrize("name", ["1.eps", "1.pdf", "1.ico", "1.tga", "1.pcx"])
def test_other_formats_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="not an image of a supported format"):
        load_one(tmp_path, RGB, name)


@pytest.mark.parametrize("mode", ["I", "F", "LAB"])
def test_pixels_of_unknown_range_are_refused_by_name(container, mode):
    save(Image.new(mode, (5, 8)), container / "cat" / "odd.tif")
    with pytest.raises(ValueError, match=f"1 of 7 files .*odd.tif' .pixels of the mode '{mode}'"):
        load_image_files(container)


def test_the_first_image_of_an_animation(tmp_path):
    frames = [Image.new("L", (5, 8), value) for value in (10, 200)]
    pixels = load_one(tmp_path, frames[0], "1.gif", save_all=True, append_images=frames[1:])
    assert_array_equal(pixels, 10)


# Files that cannot be loaded


def test_all_files_that_are_no_images_are_in_one_error(container):
    for k in range(7):
        (container / "dog" / f"note {k}.txt").write_text("woof")
    with pytest.raises(ValueError, match="^7 of 13 files .* and 2 more.*elsewhere") as raised:
        load_image_files(container)
    assert str(raised.value).count("(not an image of a supported format)") == 5


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 1000,
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0\0\x10JFIF",
        b"GIF89a",
        b"BM" + b"\xff" * 60,
        b"II*\0" + b"\xff" * 60,
        b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        b"P6 5 8 255",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 8\n%%EndComments\n",
        png_bytes(0, 8),
        png_bytes(5, 8, depth=7),
    ],
)
def test_damaged_files_are_named(container, content):
    path = container / "dog" / "broken.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="broken.png'"):
        load_image_files(container)


@pytest.mark.parametrize("name", ["1.jpg", "1.png", "1.gif", "1.tif", "1.webp", "1.bmp", "1.ppm"])
@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_truncated_files_are_named(container, name, part):
    pixels = np.random.RandomState(0).randint(256, size=(64, 64, 3), dtype=np.uint8)
    path = container / "a" / name
    save(pixels, path)
    shutil.rmtree(container / "cat")
    shutil.rmtree(container / "dog")
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ValueError, match=f"{name}' "):
        load_image_files(container)


@pytest.mark.parametrize("side", [9_500, 20_000, 2**31 - 1])
def test_bombs_are_refused_before_they_are_decoded(container, side, monkeypatch):
    (container / "dog" / "bomb.png").write_bytes(png_bytes(side, side))
    monkeypatch.setattr(_image_files, "_read_image", None)
    with pytest.raises(ValueError, match="1 of 7 files .*bomb.png' .*pixels"):
        load_image_files(container, size=(8, 8))


def test_the_limit_of_pixels_is_that_of_pillow(container, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 39)
    with pytest.raises(ValueError, match="^6 of 6 files .*exceeds limit of 39 pixels"):
        load_image_files(container)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert len(load_image_files(container).images) == 6


@pytest.mark.parametrize("kind", ["folder", "pipe", "broken link"])
def test_other_things_than_files_are_named(container, kind):
    path = container / "cat" / "odd"
    {
        "folder": lambda: save(RGB, path / "1.png"),
        "pipe": lambda: os.mkfifo(path),
        "broken link": lambda: path.symlink_to(container / "nowhere"),
    }[kind]()
    problem = "a folder" if kind == "folder" else "not a regular file"
    with pytest.raises(ValueError, match=f"odd' .{problem}"):
        load_image_files(container)


def test_files_that_change_meanwhile_are_named(container, monkeypatch):
    check_headers = _image_files._check_headers

    def change(*args, **params):
        sizes = check_headers(*args, **params)
        save(RGB[:3], container / "dog" / "3.png")
        return sizes

    monkeypatch.setattr(_image_files, "_check_headers", change)
    with pytest.raises(ValueError, match="3.png' .* 3 x 5 and not 8 x 5"):
        load_image_files(container)


# Folders and arguments


def test_a_folder_without_subfolders(tmp_path):
    save(RGB, tmp_path / "1.png")
    with pytest.raises(ValueError, match="must have a subfolder for each class, and has none"):
        load_image_files(tmp_path)


def test_of_folders_in_place_of_files_the_ones_to_pass_are_named(container, tmp_path):
    deeper = tmp_path / "all"
    shutil.copytree(container, deeper / "train")
    shutil.copytree(container, deeper / "test")
    with pytest.raises(ValueError, match="^4 of 4 files .*cat' .a folder.") as raised:
        load_image_files(deeper)
    test, train = repr(str(deeper / "test")), repr(str(deeper / "train"))
    assert f"If the folders are the classes, pass {test} or {train}. If not," in str(raised.value)
    assert_array_equal(load_image_files(deeper / "train").images, PIXELS)
    (deeper / "train" / "labels.csv").write_text("0.png,cat")
    with pytest.raises(ValueError, match=f"^5 of 5 files .*pass {test} or {train}"):
        load_image_files(deeper)


def test_a_folder_in_a_class_and_links_to_folders_are_named(container, tmp_path):
    save(RGB, tmp_path / "others" / "1.png")
    (container / "cat" / "more").symlink_to(tmp_path / "others")
    cat = repr(str(container / "cat"))
    with pytest.raises(ValueError, match=f"^1 of 7 files .*more' .a folder.* pass {cat}. If not"):
        load_image_files(container)


def test_numbers_as_names_are_sorted_as_text(tmp_path):
    for name in ("2", "10", "1"):
        save(RGB, tmp_path / name / "1.png")
    dataset = load_image_files(tmp_path)
    assert dataset.target_names == ["1", "10", "2"]
    numbers = np.array(dataset.target_names, dtype=int)[dataset.target]
    assert_array_equal(numbers, [1, 10, 2])


def test_classes_without_files_are_named(container):
    (container / "emu").mkdir()
    with pytest.raises(ValueError, match="no images in .*emu': remove"):
        load_image_files(container)


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        load_image_files(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "size", [32, "32", (32,), (32, 32, 3), (0, 5), (-1, 5), (5.0, 5), (5, None), (True, True)]
)
def test_wrong_sizes_are_named(container, size):
    with pytest.raises(ValueError, match="^size=.* must be .height, width., in whole"):
        load_image_files(container, size=size)


@pytest.mark.parametrize("size", [[4, 6], (np.int64(4), np.int32(6))])
def test_sizes_of_other_types(container, size):
    assert load_image_files(container, size=size).images.shape == (6, 4, 6, 3)


@pytest.mark.parametrize("grey", [None, 1, "yes"])
def test_a_wrong_switch_is_named(container, grey):
    with pytest.raises(TypeError, match="^grey=.* must be True or False"):
        load_image_files(container, grey=grey)


@pytest.mark.parametrize("path", [None, 3, b"photos"])
def test_a_wrong_path_is_named(path):
    with pytest.raises(TypeError, match="^container_path=.* must be a str or path-like"):
        load_image_files(path)


def test_without_pillow_the_error_says_what_to_install(container, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match="pip install pillow"):
        load_image_files(container)


# Memory


@pytest.fixture
def small_memory(monkeypatch):
    monkeypatch.setattr(_image_files, "_MAX_IN_MEMORY", PIXELS.nbytes - 1)


def mapped_files():
    """The memory maps of files that have no name any more."""
    with open("/proc/self/maps") as maps:
        return [line for line in maps if line.rstrip().endswith("(deleted)")]


def test_many_images_are_mapped_from_a_file_that_goes_with_them(
    container, small_memory, tmp_path, monkeypatch
):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    dataset = load_image_files(container)
    assert_array_equal(dataset.images, PIXELS)
    assert np.shares_memory(dataset.images, dataset.data)
    dataset.images[0, 0, 0] = 7
    assert_array_equal(dataset.data[0, :3], 7)
    if not os.path.exists("/proc/self/maps"):
        pytest.skip("needs the list of memory maps that Linux has")
    if os.listdir(tmp_path / "temporary"):
        pytest.skip("needs temporary files that have no name")
    assert any(str(tmp_path / "temporary") in line for line in mapped_files())
    data = dataset.data
    del dataset
    gc.collect()
    assert any(str(tmp_path / "temporary") in line for line in mapped_files())
    assert_array_equal(data[1:], PIXELS.reshape(6, -1)[1:])
    del data
    gc.collect()
    assert not any(str(tmp_path / "temporary") in line for line in mapped_files())


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_mapped_images_of_other_types(container, monkeypatch, dtype):
    save(SIXTEEN, container / "cat" / "6.png")  # one band, repeated
    expected = load_image_files(container, dtype=dtype).images
    monkeypatch.setattr(_image_files, "_MAX_IN_MEMORY", expected.nbytes - 1)
    temporary_files, temporary_file = [], tempfile.TemporaryFile
    monkeypatch.setattr(
        tempfile, "TemporaryFile", lambda: temporary_files.append(0) or temporary_file()
    )
    images = load_image_files(container, dtype=dtype).images
    assert temporary_files and images.dtype == dtype and images.flags.writeable
    assert_array_equal(images, expected)


def test_few_images_are_in_memory(container, monkeypatch):
    monkeypatch.setattr(_image_files, "_MAX_IN_MEMORY", PIXELS.nbytes)
    monkeypatch.setattr(tempfile, "TemporaryFile", None)
    assert_array_equal(load_image_files(container).images, PIXELS)


def test_mapped_images_go_to_other_processes(container, small_memory):
    images = load_image_files(container).images
    assert_array_equal(pickle.loads(pickle.dumps(images)), PIXELS)
    parallel = Parallel(n_jobs=2, max_nbytes=1)
    assert parallel(delayed(np.sum)(images[k:]) for k in (0, 1)) == [PIXELS.sum(), PIXELS[1:].sum()]


def test_a_disk_that_is_too_small_is_named(container, small_memory, monkeypatch):
    monkeypatch.setattr(_image_files, "_read_image", None)
    usage = shutil.disk_usage(tempfile.gettempdir())._replace(free=PIXELS.nbytes - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(OSError, match=f"are {PIXELS.nbytes} bytes, .* TMPDIR, .*size="):
        load_image_files(container)


# Progress


def load_from(container, terminal):
    with redirect_stderr(terminal):
        load_image_files(container)


def test_short_work_is_silent(container, terminal, monkeypatch):
    monkeypatch.setattr(_image_files, "_BAR_DELAY", float("inf"))
    load_from(container, terminal)
    assert terminal.getvalue() == ""


def test_long_work_has_a_bar_for_each_pass(container, terminal, monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setattr(_image_files, "_BAR_DELAY", 0)
    load_from(container, terminal)
    kilobytes = f"{sum(path.stat().st_size for path in container.rglob('*.png')) / 1000:.1f}"
    for name in ("headers", "pixels"):
        assert f"photos: {name} " in terminal.getvalue()
    assert terminal.getvalue().count(f"{kilobytes}/{kilobytes} kB") >= 2


needs_full_disk = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")


@pytest.mark.parametrize("full_disk", [False, pytest.param(True, marks=needs_full_disk)])
def test_an_error_ends_the_bar(container, terminal, monkeypatch, full_disk):
    pytest.importorskip("rich")
    monkeypatch.setattr(_image_files, "_BAR_DELAY", 0)
    if full_disk:  # an error while the next image is waited for
        monkeypatch.setattr(_image_files, "_MAX_IN_MEMORY", 0)
        monkeypatch.setattr(tempfile, "TemporaryFile", lambda: open("/dev/full", "wb", buffering=0))
    else:
        (container / "dog" / "5.png").write_bytes(png_bytes(5, 8))
    with pytest.raises((OSError, ValueError)):
        load_from(container, terminal)
    hide_cursor, show_cursor = "\x1b[?25l", "\x1b[?25h"
    assert terminal.getvalue().rindex(show_cursor) > terminal.getvalue().rindex(hide_cursor)
