"""Image files: what is well defined is converted, anything else is refused with one message by every reader."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from mssts.core.errors import InputError
from mssts.data.coco import read_coco
from mssts.data.datasets import split_annotations
from mssts.data.frames import read_frame
from mssts.data.images import STORED_PIXELS, UPRIGHT, ImageProblem, check_image, read_image
from mssts.data.prepare import prepare, prepare_coco
from tests.data import fake_youtube_vis as fake
from tests.data.test_training import write_coco

HEIGHT, WIDTH = fake.HEIGHT, fake.WIDTH
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
GREY = (ROWS * 2 + COLUMNS).astype(np.uint8)
RGB = np.stack([GREY, ROWS * 4, COLUMNS * 2], -1).astype(np.uint8)
ALPHA = (COLUMNS % 256).astype(np.uint8)
PALETTE = Image.fromarray(RGB).quantize(32)
AS_PALETTE = np.array(PALETTE.convert("RGB"))


def encoded(image: np.ndarray | Image.Image, kind: str, **options) -> bytes:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def grey_3(pixels: np.ndarray) -> np.ndarray:
    return np.stack([pixels] * 3, -1)


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, RGB.shape, np.uint8))


CONVERTED = {
    "PNG, RGB": (encoded(RGB, "PNG"), RGB),
    "PNG, RGB with alpha": (encoded(np.dstack([RGB, ALPHA]), "PNG"), RGB),
    "PNG, RGB with a transparent colour": (encoded(RGB, "PNG", transparency=(0, 0, 0)), RGB),
    "PNG, grey": (encoded(GREY, "PNG"), grey_3(GREY)),
    "PNG, grey with alpha": (encoded(Image.merge("LA", [*map(Image.fromarray, (GREY, ALPHA))]), "PNG"), grey_3(GREY)),
    "PNG, grey of 16 bits": (encoded(GREY.astype(np.uint16) * 257, "PNG"), grey_3(GREY)),
    "PNG, black and white": (encoded(Image.fromarray(GREY > 90), "PNG"), grey_3((GREY > 90) * np.uint8(255))),
    "PNG, palette": (encoded(PALETTE, "PNG"), AS_PALETTE),
    "PNG, palette with alpha": (encoded(PALETTE, "PNG", transparency=bytes(range(32))), AS_PALETTE),
    "PNG, something behind the end": (encoded(RGB, "PNG") + b"more", RGB),
    "BMP, RGB": (encoded(RGB, "BMP"), RGB),
    "BMP, grey": (encoded(GREY, "BMP"), grey_3(GREY)),
    "BMP, palette": (encoded(PALETTE, "BMP"), AS_PALETTE),
}


@pytest.fixture
def read(tmp_path):
    """A function that gives the RGB values of an image file of these bytes, and whether it is not turned upright."""

    def read_bytes(content: bytes, height: int = HEIGHT, width: int = WIDTH):
        path = tmp_path / "image"
        path.write_bytes(content)
        not_turned = check_image(path, height, width)
        pixels, same = read_image(path, height, width)
        assert same == not_turned
        return pixels, not_turned

    return read_bytes


@pytest.mark.parametrize("name", CONVERTED)
def test_what_is_well_defined_becomes_rgb(read, name):
    content, expected = CONVERTED[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels, _ = read(content)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"progressive": True},
        {"optimize": True},
        {"restart_marker_rows": 1},
        {"keep_rgb": True},
        *({"subsampling": ratio} for ratio in range(3)),
        *({"quality": quality} for quality in (5, 100)),
    ],
)
@pytest.mark.parametrize("image", [RGB, GREY], ids=["RGB", "grey"])
def test_a_jpeg_has_the_pixels_that_pillow_decodes(read, image, options):
    content = encoded(image, "JPEG", **options)
    np.testing.assert_array_equal(read(content)[0], np.array(Image.open(io.BytesIO(content)).convert("RGB")))
    np.testing.assert_array_equal(read(content + b"more")[0], read(content)[0])


def chunks(*parts: tuple[bytes, bytes]) -> bytes:
    """A PNG of these chunks."""
    written = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(written)


def png_of_size(height: int, width: int) -> bytes:
    """A PNG of a size, whose pixels cannot be decoded."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return chunks((b"IHDR", header), (b"IDAT", b"no pixels"), (b"IEND", b""))


def middle(content: bytes, replacement: bytes) -> bytes:
    start = len(content) // 2
    return content[:start] + replacement + content[start + len(replacement) :]


JPEG, PNG, BMP = (encoded(noise(), kind) for kind in ("JPEG", "PNG", "BMP"))
FLAT = encoded(np.zeros_like(RGB), "PNG")
FORMATS = "expected a JPEG, PNG or BMP image"
REFUSED_HEADERS = {
    "empty": (b"", f"the file is empty, {FORMATS}"),
    "web page": (b"<html>404</html>", f"begins with b'<html>40', {FORMATS}"),
    "EPS": (encoded(RGB, "EPS"), FORMATS),
    "GIF": (encoded(PALETTE, "GIF"), FORMATS),
    "TIFF": (encoded(GREY.astype(np.float32), "TIFF"), FORMATS),
    "PPM": (encoded(RGB, "PPM"), FORMATS),
    "WebP": (encoded(RGB, "WEBP"), FORMATS),
    "JPEG 2000": (encoded(RGB, "JPEG2000"), FORMATS),
    "JPEG, CMYK": (encoded(Image.fromarray(RGB).convert("CMYK"), "JPEG"), "found JPEG pixels in mode CMYK, expected"),
    "JPEG, only the beginning": (JPEG[:20], "unreadable or damaged image"),
    "PNG, only the beginning": (PNG[:20], "unreadable or damaged image"),
    "PNG, damaged header": (PNG[:20] + b"\1" + PNG[21:], "unreadable or damaged image"),
    "BMP, only the beginning": (BMP[:20], "unreadable or damaged image"),
    "turned": (encoded(RGB.transpose(1, 0, 2), "PNG"), "found an image of 96 x 64 pixels, expected 64 x 96 (height"),
    "huge": (png_of_size(13000, 13000), "found an image of 13000 x 13000 pixels, expected 64 x 96"),
    "no pixels at all": (png_of_size(0, 96), "unreadable or damaged image"),
}
JPEG_KINDS = {"plain": {}, "progressive": {"progressive": True}, "restarts": {"restart_marker_rows": 1}}
JPEG_DAMAGES = {
    "no end": lambda content: content[:-2],
    "cut": lambda content: content[: len(content) // 2],
    "cut, with an end": lambda content: content[: len(content) // 2] + b"\xff\xd9",
    "an end inside": lambda content: middle(content, b"\xff\xd9"),
    "zeros": lambda content: middle(content, bytes(500)),
    "zeros to the end": lambda content: middle(content, bytes(len(content) - len(content) // 2)),
    "a part lost": lambda content: content[: len(content) // 2] + content[len(content) // 2 + 500 :],
}
REFUSED_PIXELS = {
    **{
        f"JPEG, {kind}, {damage}": change(encoded(noise(), "JPEG", **options))
        for kind, options in JPEG_KINDS.items()
        for damage, change in JPEG_DAMAGES.items()
    },
    "PNG, no end": PNG[:-12],
    "PNG, cut": PNG[: len(PNG) // 2],
    "PNG, zeros": middle(PNG, bytes(50)),
    "PNG, a bit": middle(PNG, bytes([PNG[len(PNG) // 2] ^ 16])),
    "PNG, one colour, a byte": middle(FLAT, b"\xfe"),
    "PNG, one colour, cut": FLAT[:-20],
    "PNG, pixels of nothing": png_of_size(HEIGHT, WIDTH),
    "BMP, cut": BMP[: len(BMP) // 2],
}
SPECIAL = {
    "missing": (lambda path: None, "no such file"),
    "folder": (lambda path: path.mkdir(), "found a folder or a special file"),
    "FIFO": (os.mkfifo, "found a folder or a special file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "found a folder or a special file"),
    "link to itself": (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    "link to nothing": (lambda path: path.symlink_to(path.with_name("nothing")), "no such file"),
}


def bad_frames():
    for name, (content, message) in REFUSED_HEADERS.items():
        yield pytest.param(lambda path, content=content: path.write_bytes(content), message, True, id=name)
    for name, content in REFUSED_PIXELS.items():
        yield pytest.param(
            lambda path, content=content: path.write_bytes(content), "unreadable or damaged image", False, id=name
        )
    for name, (write, message) in SPECIAL.items():
        yield pytest.param(write, message, True, id=name)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A user's videos and COCO; the frame `bad` of either is to be written by a test."""
    root = tmp_path_factory.mktemp("data")
    fake.write(root / "ytvis2019", "ytvis2019", videos=4)
    return write_coco(root)


@pytest.fixture
def bad(data):
    """The path of a video's frame, free for a test."""
    path = data / "ytvis2019/train/JPEGImages/train0002/00005.jpg"
    good = path.read_bytes()
    path.unlink()
    yield path
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    path.write_bytes(good)


@pytest.mark.parametrize(("write", "message", "in_header"), [*bad_frames()])
def test_preparation_and_training_refuse_a_frame_with_one_message(data, bad, write, message, in_header):
    write(bad)
    split = split_annotations("ytvis2019", data / "ytvis2019", "train")
    with pytest.raises(InputError) as caught:
        read_frame(split, split.videos[2], 1)
    verdict = str(caught.value)
    assert verdict.startswith(f"video 3, frame 1 ({bad}): ") and message in verdict
    for decode in (False, True) if in_header else (True,):
        with pytest.raises(InputError) as caught:
            prepare("ytvis2019", data / "ytvis2019", decode)
        assert str(caught.value) == f"{data / 'ytvis2019/train.json'}: {verdict}"


@pytest.mark.parametrize("kind", ["empty", "CMYK", "damaged"])
def test_an_image_of_coco_gets_the_verdict_of_a_frame(data, kind):
    content = {"empty": b"", "CMYK": REFUSED_HEADERS["JPEG, CMYK"][0], "damaged": PNG[:-30]}[kind]
    path = data / "coco/train2017/000000000018.jpg"
    good = path.read_bytes()
    path.write_bytes(content)
    split = read_coco(data / "coco")
    with pytest.raises(InputError) as trained:
        read_frame(split, split.annotations.videos[18], 0)
    with pytest.raises(InputError) as prepared:
        prepare_coco(data / "coco", decode=True)
    path.write_bytes(good)
    assert str(trained.value).startswith(f"image 18 ({path}): ")
    assert str(trained.value) in str(prepared.value)


def test_all_bad_frames_of_all_parts_are_named_up_to_a_bound(tmp_path):
    fake.write(tmp_path, "ytvis2019")
    frames = sorted(tmp_path.rglob("*.jpg"))
    for path in frames:
        path.write_bytes(b"")
    with pytest.raises(InputError) as caught:
        prepare("ytvis2019", tmp_path)
    lines = str(caught.value).splitlines()
    assert len(frames) == 42 and len(lines) == 30 + 1 + 6
    assert lines[30].endswith("train.json: and 6 more problems")


def exif(orientation, kind: str = "PNG") -> bytes:
    data = Image.Exif()
    data[0x0112] = orientation
    return encoded(RGB, kind, exif=data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_applied(read, orientation, kind):
    content = exif(orientation, kind)
    expected = np.array(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    pixels, not_turned = read(content, *expected.shape[:2])
    assert not not_turned
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_stored_pixels_are_kept_where_only_their_size_fits(read, orientation):
    pixels, not_turned = read(exif(orientation))
    assert not_turned
    np.testing.assert_array_equal(pixels, RGB)


@pytest.mark.parametrize("orientation", [0, 1, 9])
def test_other_values_of_the_orientation_change_nothing(read, orientation):
    pixels, not_turned = read(exif(orientation))
    assert not not_turned
    np.testing.assert_array_equal(pixels, RGB)


def test_damaged_exif_data_changes_nothing(read):
    pixels, not_turned = read(encoded(RGB, "PNG", exif=b"Exif\0\0no EXIF data"))
    assert not not_turned
    np.testing.assert_array_equal(pixels, RGB)


def test_a_size_that_fits_neither_way_names_the_orientation(read):
    with pytest.raises(ImageProblem, match=r"found an image of 96 x 64 pixels \(stored: 64 x 96, EXIF orientation 6\)"):
        read(exif(6), 50, 50)


def test_an_orientation_behind_the_pixels_is_refused(read):
    content = encoded(RGB, "PNG")
    tiff = struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x0112, 3, 1, 3, 0, 0)
    with pytest.raises(ImageProblem, match="EXIF orientation behind the pixels"):
        read(content[:-12] + chunks((b"eXIf", tiff), (b"IEND", b""))[8:])


def test_stored_pixels_are_warned_of_once(tmp_path, capsys):
    fake.write(tmp_path, "ytvis2019", videos=4)
    turned: list[Path] = sorted((tmp_path / "train/JPEGImages/train0001").iterdir())
    for path in turned:
        path.write_bytes(exif(6, "JPEG"))
    prepare("ytvis2019", tmp_path)
    warning = f"warning: {tmp_path / 'train.json'}: {STORED_PIXELS} (3 times, first at video 2, frame 0 ({turned[0]}))"
    assert capsys.readouterr().err.count(warning) == 1
    split = split_annotations("ytvis2019", tmp_path, "train")
    for frame in range(3):
        read_frame(split, split.videos[1], frame)
    assert capsys.readouterr().err == f"warning: {split.image_root}: {STORED_PIXELS}\n"
