"""Frames of a video that belongs to no dataset: a video file, a folder of images, or images by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from PIL import Image

from mssts.core.errors import InputError
from mssts.core.files import atomic_write, require_empty
from mssts.data.images import ImageProblem, image_size, read_image
from mssts.ytvis.converters.document import FRAME_NAME, IMAGE_SUFFIXES, natural_order

FRAMES_PER_SECOND = Fraction(10)  # of a video that is made of images


class VideoSource:
    """The frames of a video, read one by one each time that one iterates over it: (H, W, 3) uint8, RGB, upright.

    Args:
        sources: A video file, a folder of images, a pattern such as `frames/*.jpg`, or the images themselves. Images
            are taken in the order of their names, with numbers as numbers.
        every: Keep every n-th frame, from the first on.

    Raises:
        InputError: If there is no such file or folder.
    """

    def __init__(self, sources: Sequence[Path], every: int = 1) -> None:
        self._source, self._every, self._images = sources[0], every, _images(sources)

    @property
    def rate(self) -> Fraction:
        """Frames per second of what is kept, of a video whose frames have been read."""
        return (_rate(self._source) if self._images is None else FRAMES_PER_SECOND) / self._every

    def __iter__(self) -> Iterator[np.ndarray]:
        """Read the frames from the first on.

        Raises:
            InputError: If there is no frame, a file is unreadable, or the images differ in size.
        """
        images, size = self._images, None
        frames = _decoded(self._source, self._every) if images is None else map(_image, images[:: self._every])
        for number, frame in enumerate(frames):
            size = size or frame.shape[:2]
            if frame.shape[:2] != size:
                raise InputError(
                    f"{self._source}: frame {number}: found size {frame.shape[:2]}, expected {size}, that of frame 0"
                )
            yield frame
        if size is None:
            raise InputError(f"{self._source}: found no frame; expected a video file, or a folder of images")


def read_video_frames(sources: Sequence[Path], every: int = 1) -> tuple[np.ndarray, Fraction]:
    """Read all frames of a `VideoSource`, (T, H, W, 3), and their frames per second."""
    source = VideoSource(sources, every)
    frames = list(source)
    return np.stack(frames), source.rate


def _images(sources: Sequence[Path]) -> list[Path] | None:
    """The images; None if the source is a video file."""
    if len(sources) > 1:
        return [Path(name) for name in natural_order(map(str, sources))]
    source = sources[0]
    if source.is_dir():
        folder, found = source, [path for path in source.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    elif source.exists():
        return [source] if source.suffix.lower() in IMAGE_SUFFIXES else None
    elif "*" in source.name:
        folder, found = source.parent, list(source.parent.glob(source.name))
    else:
        raise InputError(f"{source}: no such file or folder; expected a video file, or a folder of images")
    return [folder / name for name in natural_order(path.name for path in found)]


def _image(path: Path) -> np.ndarray:
    try:
        return read_image(path, *image_size(path))[0]
    except ImageProblem as problem:
        raise InputError(f"{path}: {problem}") from None


def _decoded(path: Path, every: int) -> Iterator[np.ndarray]:
    """Every n-th frame of a video file, (H, W, 3) uint8, upright."""
    number = 0
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path}: found no video stream; expected a video file")
            for number, frame in enumerate(container.decode(video=0)):
                if number % every == 0:
                    yield np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
    except (FFmpegError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be decoded after frame {number} ({reason}); expected a video file") from None


def _rate(path: Path) -> Fraction:
    with av.open(str(path)) as container:
        return container.streams.video[0].average_rate or FRAMES_PER_SECOND


def write_video(path: Path, frames: Iterable[np.ndarray], rate: Fraction) -> None:
    """Write an mp4 file with H.264; an odd side is made even by repeating its last row or column.

    Args:
        path: The file.
        frames: (H, W, 3) uint8, RGB, all of one size.
        rate: Frames per second.
    """
    with atomic_write(path, "wb") as file, av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "18"})
        stream.pix_fmt = "yuv420p"
        for number, pixels_HW3 in enumerate(frames):
            height, width = pixels_HW3.shape[:2]
            pixels_HW3 = np.pad(pixels_HW3, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
            if number == 0:
                stream.height, stream.width = pixels_HW3.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels_HW3, format="rgb24")))
        container.mux(stream.encode())


def extract_frames(video: Path, output: Path, every: int = 1) -> int:
    """Write the frames of a video file as JPEG files, in a folder with the name of the file.

    Args:
        video: The video file.
        output: Folder of the frames of all videos; `FRAME_NAME` has the names.
        every: Keep every n-th frame.

    Returns:
        Number of frames written.

    Raises:
        InputError: If the file is unreadable, or the folder holds files already.
    """
    if video.is_dir():
        raise InputError(f"{video}: found a folder; expected a video file, or several, such as {video}/*.mp4")
    folder = output / video.stem
    require_empty(folder)
    number = -1
    for number, frame in enumerate(_decoded(video, every)):
        path = output / FRAME_NAME.format(video=video.stem, frame=number)
        with atomic_write(path, "wb") as file:
            Image.fromarray(frame).save(file, "JPEG", quality=95)
    if number < 0:
        raise InputError(f"{video}: found no frame; expected a video file")
    return number + 1
