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

import numpy as np
import pytest
from joblib import Parallel, delayed
from numpy.testing import assert_allclose, assert_array_equal

from skcnn import _image_files, datasets
from skcnn.datasets import load_image_files

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


def load_one(tmp_path, image, name="1.png", size=None, grey=False, **params):
    """Return the pixels of one image that is saved and loaded."""
    save(image, tmp_path / "one" / "class" / name, **params)
    return load_image_files(tmp_path / "one", size=size, grey=grey).images[0]


def orientation(number):
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


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
    turns = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }
    saved = Image.fromarray(np.ascontiguousarray(turns[number])).convert("RGB")
    image = load_one(tmp_path, saved, name, size=size, exif=orientation(number))
    expected = Image.fromarray(upright).resize((size or upright.shape)[::-1])
    assert image.shape[:2] == expected.size[::-1]
    assert np.abs(image - np.asarray(expected, dtype=float)[:, :, None]).mean() < 12


def test_sizes_are_those_of_upright_images(tmp_path):
    save(RGB, tmp_path / "a" / "1.jpg", exif=orientation(1))
    save(RGB.transpose(1, 0, 2).copy(), tmp_path / "a" / "2.jpg", exif=orientation(6))
    assert load_image_files(tmp_path).images.shape == (2, 8, 5, 3)


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


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "LA"])
def test_transparency_of_other_modes(tmp_path, mode):
    image = Image.new(mode, (5, 8), 0)
    image.paste(9 if mode == "P" else "red" if mode == "RGB" else 90, (0, 0, 2, 8))
    if mode == "P":
        image.putpalette(list(range(90)))
    params = {} if mode == "LA" else {"transparency": (0, 0, 0) if mode == "RGB" else 0}
    if mode == "LA":
        image.putalpha(Image.fromarray(np.uint8(255 * (np.arange(5) < 2)) * np.ones((8, 1), "u1")))
    pixels = load_one(tmp_path, image, **params)
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
    with pytest.raises(ValueError, match="odd' .not a regular file"):
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
    monkeypatch.setattr(_image_files, "_LARGEST_IN_MEMORY", PIXELS.nbytes - 1)


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


def test_few_images_are_in_memory(container, monkeypatch):
    monkeypatch.setattr(_image_files, "_LARGEST_IN_MEMORY", PIXELS.nbytes)
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


@pytest.fixture
def long_work(monkeypatch):
    monkeypatch.setattr(_image_files, "_QUIET", -1.0)


def test_short_work_is_silent(container, capfd):
    load_image_files(container)
    assert capfd.readouterr() == ("", "")


def test_long_work_has_a_bar_for_each_pass(container, long_work, capfd):
    load_image_files(container)
    out, err = capfd.readouterr()
    assert out == ""
    bars = err.splitlines()
    for name in ("headers", "pixels"):
        assert f"photos: {name} [{'#' * 40}] 0.0/0.0 MB" in bars
    assert err.endswith("\n")


def test_an_error_ends_the_line_of_the_bar(container, long_work, capfd):
    (container / "dog" / "5.png").write_bytes(png_bytes(5, 8))
    with pytest.raises(ValueError, match="5.png' cannot be loaded"):
        load_image_files(container)
    assert capfd.readouterr().err.endswith("MB\n")


@pytest.mark.parametrize("kind", ["None", "closed", "broken"])
def test_a_standard_error_that_cannot_be_written_to(container, long_work, monkeypatch, kind):
    stream = None if kind == "None" else io.StringIO()
    if kind == "closed":
        stream.close()
    if kind == "broken":
        stream.write = None
    monkeypatch.setattr(sys, "stderr", stream)
    assert_array_equal(load_image_files(container).images, PIXELS)
