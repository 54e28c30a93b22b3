"""The tracks of a file packed into a few arrays.

A process that is forked shares the memory of another one until one of them writes to it, and counting the references of
a Python object is writing. The processes that load clips therefore share arrays of COCO's 860,000 objects; they would
each copy as many Python objects.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from mssts.ytvis.masks import Polygons, TrackMasks, row_type
from mssts.ytvis.tracks import Track, Video

_MASKS, _POLYGONS, _IRREGULAR = range(3)  # what a segmentation begins with
_INTEGERS = 6


@dataclass(frozen=True, eq=False)
class TrackList:
    """Tracks in the order of the file. An index gives one; its arrays are views.

    Attributes:
        integers_N6: int64: id, video id, category id, whether it is a crowd, index of `attributes`, and where its
            segmentation begins in `data`.
        area_N: float64, area of each track in pixels.
        data: uint8, all segmentations.
        attributes: The different values of `Track.attributes`.
        irregular: Masks that are not one per frame and of one size.
    """

    integers_N6: np.ndarray
    area_N: np.ndarray
    data: np.ndarray
    attributes: tuple[dict[str, bool] | None, ...]
    irregular: tuple[TrackMasks, ...]

    @classmethod
    def of(cls, tracks: Iterable[Track]) -> TrackList:
        """Pack tracks."""
        packer = TrackPacker()
        for track in tracks:
            packer.append(track)
        return packer.packed()

    @property
    def video_id_N(self) -> np.ndarray:
        """Ids of the videos, int64."""
        return self.integers_N6[:, 1]

    @property
    def category_id_N(self) -> np.ndarray:
        """Ids of the categories, int64."""
        return self.integers_N6[:, 2]

    @property
    def crowd_N(self) -> np.ndarray:
        """Which tracks are crowds, bool."""
        return self.integers_N6[:, 3] > 0

    def __len__(self) -> int:
        return len(self.area_N)

    def __iter__(self) -> Iterator[Track]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, position: int) -> Track:
        number, video_id, category_id, crowd, attributes, start = self.integers_N6[position].tolist()
        area, segmentation = float(self.area_N[position]), self._segmentation(start)
        return Track(number, video_id, category_id, bool(crowd), area, self.attributes[attributes], segmentation)

    def take(self, positions: np.ndarray) -> TrackList:
        """The tracks at these positions, or where a bool array is true; the segmentations are not copied."""
        return replace(self, integers_N6=self.integers_N6[positions], area_N=self.area_N[positions])

    def with_categories(self, category_id_N: np.ndarray) -> TrackList:
        """The same tracks with other categories."""
        integers_N6 = self.integers_N6.copy()
        integers_N6[:, 2] = category_id_N
        return replace(self, integers_N6=integers_N6)

    def _segmentation(self, start: int) -> TrackMasks | Polygons:
        def read(count: int, dtype: type | np.dtype = np.int64) -> np.ndarray:
            nonlocal start
            found = np.frombuffer(self.data, dtype, count, start)
            start += found.nbytes
            return found

        kind, height, width, count = read(4).tolist()
        if kind == _IRREGULAR:
            return self.irregular[count]
        if kind == _POLYGONS:
            return Polygons([read(length, np.float64) for length in read(count).tolist()], (height, width))
        left, columns, extra = read(3).tolist()
        areas_T, extra_4N = read(count, np.float64), read(4 * extra, np.int32).reshape(4, extra)
        top_TX, bottom_TX = read(2 * count * columns, row_type(height)).reshape(2, count, columns)
        present_T = read(count, np.bool_)
        return TrackMasks(areas_T, present_T, (height, width), left, top_TX, bottom_TX, extra_4N)


class TrackPacker:
    """Packs tracks one after the other, so that no more than one of them is a Python object."""

    def __init__(self) -> None:
        self._integers, self._areas, self._data = array("q"), array("d"), bytearray()
        self._attributes: dict[tuple[tuple[str, bool], ...] | None, int] = {}
        self._irregular: list[TrackMasks] = []

    def append(self, track: Track) -> int:
        """Pack a track; returns its position."""
        key = None if track.attributes is None else tuple(track.attributes.items())
        attributes = self._attributes.setdefault(key, len(self._attributes))
        numbers = (track.id, track.video_id, track.category_id, track.crowd, attributes, len(self._data))
        self._integers.extend(numbers)
        self._areas.append(track.area)
        self._append(track.segmentation)
        return len(self._areas) - 1

    def _append(self, found: TrackMasks | Polygons) -> None:
        if isinstance(found, Polygons):
            lengths = map(len, found.polygons)
            self._data += array("q", (_POLYGONS, *found.size, len(found.polygons), *lengths))
            self._data += array("d", chain.from_iterable(found.polygons))
        elif found.irregular is not None:
            self._data += array("q", (_IRREGULAR, *found.size, len(self._irregular)))
            self._irregular.append(found)
        else:
            shape = (*found.top_TX.shape, found.extra_4N.shape[1])
            self._data += array("q", (_MASKS, *found.size, shape[0], found.left, *shape[1:]))
            for part in (found.areas_T, found.extra_4N, found.top_TX, found.bottom_TX, found.present_T):
                self._data += part.tobytes()
            self._data += bytes(-len(self._data) % 8)  # numbers lie at multiples of their size

    def packed(self) -> TrackList:
        """All tracks; no further one can be appended."""
        integers_N6 = np.frombuffer(self._integers, np.int64).reshape(-1, _INTEGERS)
        data = np.frombuffer(memoryview(self._data).toreadonly(), np.uint8)
        attributes = tuple(None if key is None else dict(key) for key in self._attributes)
        return TrackList(integers_N6, np.frombuffer(self._areas), data, attributes, tuple(self._irregular))


class TracksOf(Mapping[int, list[Track]]):
    """{video id: its tracks in the order of the file}, for all videos."""

    def __init__(self, videos: Mapping[int, Video], tracks: TrackList) -> None:
        self._videos, self._tracks = videos, tracks
        self._order_N = np.argsort(tracks.video_id_N, kind="stable")
        self._sorted_N = tracks.video_id_N[self._order_N]

    def __getitem__(self, video_id: int) -> list[Track]:
        if video_id not in self._videos:
            raise KeyError(video_id)
        begin, end = (np.searchsorted(self._sorted_N, video_id, side=side) for side in ("left", "right"))
        return [self._tracks[position] for position in self._order_N[begin:end]]

    def __iter__(self) -> Iterator[int]:
        return iter(self._videos)

    def __len__(self) -> int:
        return len(self._videos)
