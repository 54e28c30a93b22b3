"""Packed tracks beside the tracks themselves."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from mssts.ytvis.annotations import STILLS, parse_annotations
from mssts.ytvis.masks import Polygons, TrackMasks, irregular_track, read_track
from mssts.ytvis.track_list import TrackList, TracksOf
from mssts.ytvis.tracks import Track, Video


@st.composite
def segmentations(draw):
    """Masks of a small or tall video, masks of two sizes, or polygons."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    height, width, frames = draw(st.sampled_from([3, 7, 2**15])), draw(st.integers(1, 6)), draw(st.integers(1, 4))
    if draw(st.integers(0, 3)) == 0:
        polygons = [rng.uniform(0, 6, 2 * rng.integers(3, 7)).tolist() for _ in range(draw(st.integers(1, 3)))]
        return Polygons(polygons, (height, width))
    drawn = [
        np.asfortranarray(rng.random((height, width)) < draw(st.sampled_from([0.0, 0.3, 1.0]))) for _ in range(frames)
    ]
    masks = [coco_mask.encode(mask.astype(np.uint8)) if rng.random() < 0.8 else None for mask in drawn]
    if draw(st.booleans()):
        return read_track(masks, height, width)
    return irregular_track(masks, [[height, width]] * frames, (9, 9))


@st.composite
def tracks(draw):
    attributes = draw(st.sampled_from([None, {"fog": True}, {"fog": False, "occlusion": True}]))
    numbers = [draw(st.integers(-(2**63) + 1, 2**63 - 1)), draw(st.integers(1, 3)), draw(st.integers(1, 90))]
    return Track(*numbers, draw(st.booleans()), draw(st.floats(0, 1e10)), attributes, draw(segmentations()))


def assert_same(found, expected):
    for field in dataclasses.fields(Track)[:-1]:
        one, other = getattr(found, field.name), getattr(expected, field.name)
        assert one == other and type(one) is type(other)
    one, other = found.segmentation, expected.segmentation
    assert type(one) is type(other) and one.size == other.size
    if isinstance(other, Polygons):
        assert [polygon.tolist() for polygon in one.polygons] == other.polygons
        return
    assert (one.left, one.irregular) == (other.left, other.irregular)
    for name in ("areas_T", "present_T", "top_TX", "bottom_TX", "extra_4N"):
        array, expected_array = getattr(one, name), getattr(other, name)
        assert other.irregular or not array.flags.writeable
        np.testing.assert_array_equal(array, expected_array, strict=True)


@given(st.lists(tracks(), max_size=5))
def test_packed_tracks_are_the_tracks(drawn):
    packed = TrackList.of(drawn)
    assert len(packed) == len(drawn)
    for found, expected in zip(packed, drawn, strict=True):
        assert_same(found, expected)
    assert [track.id for track in packed] == [track.id for track in drawn]
    assert packed.crowd_N.tolist() == [track.crowd for track in drawn]


@given(st.lists(tracks(), min_size=1, max_size=5), st.data())
def test_chosen_tracks_are_those_at_the_positions(drawn, data):
    positions = data.draw(st.lists(st.integers(0, len(drawn) - 1)))
    chosen = TrackList.of(drawn).take(np.array(positions, dtype=np.int64))
    for found, position in zip(chosen, positions, strict=True):
        assert_same(found, drawn[position])
    other = chosen.with_categories(7 + chosen.category_id_N)
    assert other.category_id_N.tolist() == [drawn[position].category_id + 7 for position in positions]


@given(st.lists(tracks(), max_size=6))
def test_tracks_of_a_video_are_in_the_order_of_the_file(drawn):
    videos = {number: Video(number, 9, 9, 1) for number in (3, 1, 2, 8)}
    found = TracksOf(videos, TrackList.of(drawn))
    assert [*found] == [*videos]
    for video_id, own in found.items():
        for one, expected in zip(own, (track for track in drawn if track.video_id == video_id), strict=True):
            assert_same(one, expected)
    with pytest.raises(KeyError):
        found[4]


def test_the_objects_of_stills_are_arrays_and_no_python_objects():
    polygon = [1.0, 1.0, 5.0, 1.5, 4.0, 6.25]
    items = [
        {
            "id": n,
            "image_id": 1,
            "category_id": 1,
            "iscrowd": 0,
            "segmentation": [polygon],
            "area": 9.0,
            "bbox": [0] * 4,
        }
        for n in range(1, 51)
    ]
    images = [{"id": 1, "height": 8, "width": 8, "file_name": "1.jpg"}]
    content = {"images": images, "categories": [{"id": 1, "name": "cat"}], "annotations": items}
    found = parse_annotations(content, layout=STILLS).tracks
    assert len(found) == 50 and found.attributes == (None,) and found.irregular == ()
    assert found.data.nbytes == 50 * 8 * (4 + 1 + len(polygon))
    assert isinstance(found[49].masks, TrackMasks) and found[49].id == 50
