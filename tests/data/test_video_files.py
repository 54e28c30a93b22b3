"""Video files and folders of images are read as frames, and written."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from mssts.core.errors import InputError
from mssts.data.video_files import VideoSource, extract_frames, read_video_frames, write_video


def frames(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Grey frames, each brighter than the one before, with a red left half."""
    made = []
    for number in range(count):
        pixels = np.full((height, width, 3), 20 * number + 10, np.uint8)
        pixels[:, : width // 2] = (200, 20 * number, 30)
        made.append(pixels)
    return made


def test_a_video_file_keeps_its_frames_their_order_and_rate(tmp_path):
    write_video(tmp_path / "a.mp4", frames(7), Fraction(25))
    found, rate = read_video_frames([tmp_path / "a.mp4"])
    assert found.shape == (7, 48, 64, 3) and found.dtype == np.uint8 and rate == 25
    np.testing.assert_allclose(found.astype(int), np.stack(frames(7)).astype(int), atol=12)


def test_every_second_frame_is_half_as_many_per_second(tmp_path):
    write_video(tmp_path / "a.mp4", frames(7), Fraction(30))
    found, rate = read_video_frames([tmp_path / "a.mp4"], every=2)
    assert len(found) == 4 and rate == 15
    np.testing.assert_allclose(found[3].astype(int), frames(7)[6].astype(int), atol=12)


def test_odd_sides_are_written_with_one_more_pixel(tmp_path):
    write_video(tmp_path / "a.mp4", frames(2, 47, 63), Fraction(10))
    found, _ = read_video_frames([tmp_path / "a.mp4"])
    assert found.shape == (2, 48, 64, 3)


def folder(path, suffix=".png"):
    path.mkdir()
    for number, pixels in enumerate(frames(11)):
        Image.fromarray(pixels).save(path / f"frame{number}{suffix}")
    (path / "notes.txt").write_text("no image")
    return path


def test_images_of_a_folder_a_pattern_or_a_list_come_in_the_order_of_their_numbers(tmp_path):
    path = folder(tmp_path / "frames")
    listed = sorted(path.glob("*.png"))  # frame10 before frame2
    for sources in ([path], [path / "*.png"], listed):
        found, _ = read_video_frames(sources)
        assert np.array_equal(found, np.stack(frames(11)))


def test_frames_are_read_one_by_one_and_as_often_as_asked_for(tmp_path):
    path = folder(tmp_path / "frames")
    (path / "frame5.png").write_text("no image")
    source, read = VideoSource([path]), []
    for _ in range(2):
        with pytest.raises(InputError, match=r"frame5\.png"):
            read.extend(source)
    assert np.array_equal(read, np.stack([*frames(5), *frames(5)]))


def test_a_turned_image_is_read_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(frames(1)[0]).save(tmp_path / "a.jpg", exif=exif, quality=100, subsampling=0)
    found, _ = read_video_frames([tmp_path / "a.jpg"])
    assert found.shape == (1, 64, 48, 3)
    np.testing.assert_allclose(found[0].astype(int), np.rot90(frames(1)[0], -1).astype(int), atol=12)


def test_extracted_frames_are_named_as_converted_annotations_name_them(tmp_path):
    write_video(tmp_path / "duck.mp4", frames(3), Fraction(10))
    assert extract_frames(tmp_path / "duck.mp4", tmp_path / "frames") == 3
    found = sorted(path.relative_to(tmp_path / "frames").as_posix() for path in (tmp_path / "frames").rglob("*.jpg"))
    assert found == ["duck/00000.jpg", "duck/00001.jpg", "duck/00002.jpg"]
    with pytest.raises(InputError, match="duck: exists already"):
        extract_frames(tmp_path / "duck.mp4", tmp_path / "frames")


def audio_only(path):
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 44100
        container.mux([*stream.encode(frame), *stream.encode()])


def cut(path):
    write_video(path, frames(9), Fraction(10))
    path.write_bytes(path.read_bytes()[:700])


WRONG = {
    "missing": (lambda path: None, "no such file or folder; expected a video file"),
    "text": (lambda path: path.write_text("no video"), "cannot be decoded after frame 0"),
    "cut": (cut, "cannot be decoded"),
    "audio": (audio_only, "found no video stream"),
    "empty_folder": (lambda path: path.mkdir(), "found no frame; expected a video file, or a folder of images"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_video_is_named(tmp_path, case):
    make, told = WRONG[case]
    make(tmp_path / "a.mp4")
    with pytest.raises(InputError) as caught:
        read_video_frames([tmp_path / "a.mp4"])
    assert told in str(caught.value) and "a.mp4" in str(caught.value)


def test_the_frames_of_a_folder_of_videos_are_asked_for_by_its_files(tmp_path):
    with pytest.raises(InputError, match=r"found a folder; expected a video file, or several, such as .*/\*\.mp4"):
        extract_frames(tmp_path, tmp_path / "frames")


def test_images_of_two_sizes_are_refused(tmp_path):
    path = folder(tmp_path / "frames")
    Image.new("RGB", (10, 10)).save(path / "frame3.png")
    with pytest.raises(InputError, match=r"frame 3: found size \(10, 10\), expected \(48, 64\)"):
        read_video_frames([path])
