"""Image files: named formats and modes only, and the size in the header before any pixel. Imports no torch."""

from __future__ import annotations

import os
import stat
import struct
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import ExifTags, Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from tqdm import tqdm

from mssts.ytvis.annotations import FrameFile
from mssts.ytvis.problems import Problems

FORMATS: dict[bytes, type[ImageFile]] = {  # by the first bytes of a file
    b"\xff\xd8\xff": JpegImageFile,
    b"\x89PNG\r\n\x1a\n": PngImageFile,
    b"BM": BmpImageFile,
}
KNOWN_FORMATS = "a JPEG, PNG or BMP image"
# Not CMYK, whose colours depend on a profile, and none of the modes of numbers without a range.
MODES = {"1": "black and white", "L": "grey", "I;16": "16-bit grey", "P": "palette", "RGB": "RGB"}
MODES |= {"LA": "grey with alpha", "RGBA": "RGB with alpha"}
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations whose height and width are exchanged
STORED_PIXELS = (
    "EXIF orientation not applied: only the stored size is that of the annotations; "
    "check that the masks lie on the stored pixels"
)
THREADS = 16  # mostly to wait for a file system
BATCH = 64  # images that a thread checks at once

# What Pillow warns about is decided here: very large images by their expected size, damaged EXIF data by ignoring it.
warnings.filterwarnings("ignore", module=r"PIL\.")


class ImageProblem(ValueError):
    """What is wrong with an image file; the message does not name the file."""


def check_image(path: Path, height: int, width: int) -> bool:
    """Read the header of an image.

    Args:
        path: The file.
        height: Expected height in pixels.
        width: Expected width in pixels.

    Returns:
        Whether its EXIF orientation is not applied, see `STORED_PIXELS`.

    Raises:
        ImageProblem: If the file is no image of a named format and mode, or of another size.
    """
    with _opened(path) as image:
        orientation = _orientation(image)
        return _turn(image, orientation, height, width) != orientation


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) of the upright image. Raises ImageProblem if the file is no image of a named format and mode."""
    with _opened(path) as image:
        width, height = image.size
        return (width, height) if _orientation(image) in SIDEWAYS else (height, width)


def read_image(path: Path, height: int, width: int) -> tuple[np.ndarray, bool]:
    """Read the pixels of an image, upright if its EXIF data says how.

    Grey values and palettes become RGB, the high byte of 16 bits is kept, and alpha is dropped.

    Args:
        path: The file.
        height: Expected height in pixels.
        width: Expected width in pixels.

    Returns:
        (H, W, 3) uint8, RGB, and whether its EXIF orientation is not applied, see `STORED_PIXELS`.

    Raises:
        ImageProblem: For what `check_image` refuses, before any pixel is decoded, and for damaged pixels.
    """
    with _opened(path) as image:
        orientation = _orientation(image)
        turn = _turn(image, orientation, height, width)
        if isinstance(image, PngImageFile):
            with _opened(path) as other:
                other.verify()  # the checksums, of which Pillow needs not see all to decode the pixels
        pixels_HW3 = _rgb(image, path)
        if _orientation(image) != orientation:
            raise ImageProblem("EXIF orientation behind the pixels; save the image again")
    if turn in UPRIGHT:
        pixels_HW3 = np.array(Image.fromarray(pixels_HW3).transpose(UPRIGHT[turn]))
    return pixels_HW3, turn != orientation


def check_images(files: Sequence[FrameFile], problems: Problems, decode: bool = False) -> None:
    """Read the header of many images, or all their pixels, with a progress bar.

    Args:
        files: The images.
        problems: Collects what is wrong.
        decode: Whether the pixels are decoded too.
    """

    def check(batch: Sequence[FrameFile]) -> list[bool | ImageProblem]:
        found: list[bool | ImageProblem] = []
        for file in batch:
            try:
                size = (file.height, file.width)
                found.append(read_image(file.path, *size)[1] if decode else check_image(file.path, *size))
            except ImageProblem as problem:
                found.append(problem)
        return found

    batches = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]
    with ThreadPoolExecutor(THREADS) as pool, tqdm(total=len(files), desc="check images", unit="image") as progress:
        for batch, found in zip(batches, pool.map(check, batches), strict=True):
            for file, verdict in zip(batch, found, strict=True):
                if isinstance(verdict, ImageProblem):
                    problems.add(file.name, str(verdict))
                elif verdict:
                    problems.notice(file.name, STORED_PIXELS)
            progress.update(len(batch))


@contextmanager
def _opened(path: Path) -> Iterator[ImageFile]:
    """Open an image whose format and mode are known; any error of Pillow in the block is an ImageProblem."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ImageProblem(f"found a folder or a special file, expected {KNOWN_FORMATS}")
        with path.open("rb") as file:
            begin = file.read(max(map(len, FORMATS)))
            file.seek(0)
            if not begin:
                raise ImageProblem(f"the file is empty, expected {KNOWN_FORMATS}")
            opener = next((opener for signature, opener in FORMATS.items() if begin.startswith(signature)), None)
            if opener is None:
                raise ImageProblem(f"found a file that begins with {begin!r}, expected {KNOWN_FORMATS}")
            with opener(file) as image:
                if image.mode not in MODES:
                    raise ImageProblem(
                        f"found {image.format} pixels in mode {image.mode}, expected {', '.join(MODES.values())}; "
                        "convert the image to RGB"
                    )
                yield image
    except ImageProblem:
        raise
    except FileNotFoundError:
        raise ImageProblem("no such file; get or generate the images again") from None
    except MemoryError:
        raise ImageProblem("the image does not fit into memory") from None
    except (OSError, SyntaxError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ImageProblem(f"unreadable or damaged image ({reason}); get or generate it again") from None


def _orientation(image: ImageFile) -> int:
    """The EXIF orientation, 1 to 8; 1, which is upright, if there is none or the EXIF data is damaged."""
    exif = Image.Exif()  # not `image.getexif()`, which decodes a PNG
    try:
        exif.load(image.info.get("exif", b""))
        found = exif.get(ExifTags.Base.Orientation)
    except (SyntaxError, struct.error):
        return 1
    return found if found in UPRIGHT else 1


def _turn(image: ImageFile, orientation: int, height: int, width: int) -> int:
    """The orientation from which the pixels are turned upright, so that they have the expected size."""
    stored = (image.height, image.width)
    upright = stored[::-1] if orientation in SIDEWAYS else stored
    if upright == (height, width):
        return orientation
    if stored == (height, width):
        return 1
    found = f"found an image of {upright[0]} x {upright[1]} pixels"
    if orientation > 1:
        found += f" (stored: {stored[0]} x {stored[1]}, EXIF orientation {orientation})"
    raise ImageProblem(f"{found}, expected {height} x {width} (height x width) as in the annotations")


def _rgb(image: ImageFile, path: Path) -> np.ndarray:
    """The pixels of an image, (H, W, 3) uint8."""
    if isinstance(image, JpegImageFile):
        # Pillow passes over libjpeg's warnings, with which most damage inside the pixels is only reported.
        return simplejpeg.decode_jpeg(path.read_bytes(), "RGB", strict=True)
    if image.mode == "I;16":
        return np.repeat((np.array(image)[..., None] >> 8).astype(np.uint8), 3, axis=-1)
    image.info.pop("transparency", None)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))
