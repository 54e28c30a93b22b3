"""Drawing of SynthVIS: shapes, textures, occluders and fog as arrays over all frames of a video.

Coordinates are x to the right and y down, in pixels, the centre of the first pixel at (0.5, 0.5). Colours are 0..1.
Only element-wise arithmetic is used (no BLAS), so that thread counts cannot change a byte.

Shape suffixes: T frames, H and W pixels, M members of an object (one, or several for a crowd), 2 = (x, y), 3 = RGB.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SQRT3 = float(np.sqrt(3.0))
COVER_OPACITY = 0.96
FOG_OPACITY = 0.93
FOG_COVER = 0.45
FOG_CELLS = (16.0, 7.0)


@dataclass(frozen=True)
class Track:
    """The course of one object.

    category: index of its shape. centres_T2: px. half_axes_T2: px along the object's own axes. angles_T: radians.
    members_M3: offset u, v and scale of each member in units of the half axes; more than one makes a crowd.
    texture: its surface. covered_T: bool, an occluder passes; cover_T4: that occluder's centre and half axes in px.
    """

    category: int
    centres_T2: np.ndarray
    half_axes_T2: np.ndarray
    angles_T: np.ndarray
    members_M3: np.ndarray
    texture: Texture
    covered_T: np.ndarray
    cover_T4: np.ndarray

    @property
    def crowd(self) -> bool:
        """Whether the object is a group that is annotated as one crowd region."""
        return len(self.members_M3) > 1


@dataclass(frozen=True)
class Texture:
    """Two colours and the stripes, checks, rings or spots that mix them, fixed to the object."""

    colours_23: np.ndarray
    kind: int
    frequency: float
    direction: float
    phase: float


@dataclass(frozen=True)
class Rendering:
    """Frames and what is true of every object in them.

    frames_THW3: uint8 RGB. The rest in the order of the tracks: visible_NTHW: bool masks, cut by the frame's border and
    by nearer objects, *amodal* under occluders and fog [ours]: they run on below these; own_area_NT: px in the frame
    without nearer objects; whole_area_NT: px without the border either; occluded_NT, fogged_NT: share of the visible
    mask below an occluder or fog.
    """

    frames_THW3: np.ndarray
    visible_NTHW: np.ndarray
    own_area_NT: np.ndarray
    whole_area_NT: np.ndarray
    occluded_NT: np.ndarray
    fogged_NT: np.ndarray


def _disc(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.sqrt(u * u + v * v) - 1.0


def _square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(u), np.abs(v)) - 0.86


def _triangle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(v, SQRT3 / 2 * np.abs(u) - v / 2) - 0.62


def _cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    u, v = np.abs(u), np.abs(v)
    return np.minimum(np.maximum(u - 1.05, v - 0.36), np.maximum(u - 0.36, v - 1.05))


def _ring(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.abs(np.sqrt(u * u + v * v) - 0.77) - 0.28


# The order is that of the categories: signed distance in units of the half axes, negative inside.
SHAPES = {"disc": _disc, "square": _square, "triangle": _triangle, "cross": _cross, "ring": _ring}
_DISTANCES = tuple(SHAPES.values())


def _unit_areas() -> tuple[float, ...]:
    axis = np.linspace(-1.5, 1.5, 601)
    u, v = np.meshgrid(axis, axis)
    return tuple(float((distance(u, v) < 0).mean() * 9.0) for distance in _DISTANCES)


UNIT_AREAS = _unit_areas()


def _window(track: Track, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of the frame outside of which the object never is."""
    reach = 1.5 * float(track.half_axes_T2.max()) + 1
    low, high = track.centres_T2.min(axis=0) - reach, track.centres_T2.max(axis=0) + reach
    columns, rows = (
        slice(int(np.clip(first, 0, size)), int(np.clip(np.ceil(last), 0, size)))
        for first, last, size in zip(low, high, (width, height), strict=True)
    )
    return rows, columns


def _local(track: Track, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (T, h, w) of the window's pixels in units of the object's half axes."""
    x = np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5 - track.centres_T2[:, :1].astype(np.float32)
    y = np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5 - track.centres_T2[:, 1:].astype(np.float32)
    cos, sin = (f(track.angles_T).astype(np.float32)[:, None] for f in (np.cos, np.sin))
    a, b = (track.half_axes_T2[:, i, None].astype(np.float32) for i in (0, 1))
    u = (x * cos / a)[:, None, :] + (y * sin / a)[:, :, None]
    v = (y * cos / b)[:, :, None] - (x * sin / b)[:, None, :]
    return u, v


def _coverage(track: Track, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Share (T, H, W) of each pixel that the object covers, antialiased."""
    scale_px = track.half_axes_T2.min(axis=1).astype(np.float32)[:, None, None]
    distance = None
    for du, dv, size in track.members_M3.tolist():  # plain numbers keep float32
        member = _DISTANCES[track.category]((u - du) / size, (v - dv) / size) * size
        distance = member if distance is None else np.minimum(distance, member)
    return np.clip(0.5 - distance * scale_px, 0.0, 1.0)


def _surface(texture: Texture, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Colours (T, 3, H, W) of the texture at object coordinates."""
    cos, sin = float(np.cos(texture.direction)), float(np.sin(texture.direction))
    p, q = (u * cos + v * sin) * texture.frequency + texture.phase, (v * cos - u * sin) * texture.frequency
    if texture.kind == 0:
        wave = np.sin(p)
    elif texture.kind == 1:
        wave = np.sin(p) * np.sin(q) * 1.6
    elif texture.kind == 2:
        wave = np.sin(np.sqrt(u * u + v * v) * texture.frequency + texture.phase)
    else:
        wave = np.sin(p) + np.sin(q) - 0.4
    mix = np.clip(0.5 + 0.9 * wave, 0.0, 1.0)[:, None]
    first, second = texture.colours_23.astype(np.float32)[:, :, None, None]
    return first + (second - first) * mix


def value_noise(
    rng: np.random.Generator, height: int, width: int, cell: float, offsets_T2: np.ndarray, channels: int
) -> np.ndarray:
    """Smooth noise (T, channels, H, W) in -1..1 with cells of `cell` px, one field seen through a moving window.

    offsets_T2: top left corner x, y of the window in px, any sign.
    """
    origin = offsets_T2.min(axis=0)
    reach = offsets_T2.max(axis=0) - origin
    columns, rows = (int((size + extra) / cell) + 3 for size, extra in zip((width, height), reach, strict=True))
    lattice = rng.uniform(-1.0, 1.0, (channels, rows, columns)).astype(np.float32)
    frames = np.empty((len(offsets_T2), channels, height, width), np.float32)
    for frame, (x0, y0) in zip(frames, offsets_T2 - origin, strict=True):
        (i, fi), (j, fj) = (_cells(size, start, cell) for size, start in ((height, y0), (width, x0)))
        band = lattice[:, i] + (lattice[:, i + 1] - lattice[:, i]) * fi[:, None]
        left = band[:, :, j]
        np.subtract(band[:, :, j + 1], left, out=frame)
        frame *= fj
        frame += left
    return frames


def _cells(size: int, start: float, cell: float) -> tuple[np.ndarray, np.ndarray]:
    place = (np.arange(size, dtype=np.float32) + np.float32(start)) / np.float32(cell)
    index = place.astype(np.int64)
    fraction = place - index
    return index, fraction * fraction * (3 - 2 * fraction)


def background(
    rng: np.random.Generator, height: int, width: int, colour_3: np.ndarray, offsets_T2: np.ndarray
) -> np.ndarray:
    """Textured background (T, 3, H, W) that moves by `offsets_T2` px."""
    coarse = value_noise(rng, height, width, 22.0, offsets_T2, 3)
    fine = value_noise(rng, height, width, 6.0, offsets_T2, 1)
    coarse *= 0.16
    coarse += 0.09 * fine
    coarse += colour_3.astype(np.float32)[:, None, None]
    return coarse


def _fog(rng: np.random.Generator, frames: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Opacity and grey level (T, 1, H, W) of fog that is drawn anew for every frame."""
    still = np.zeros((1, 2))
    fields, tints = [], []
    for _ in range(frames):
        field = sum(value_noise(rng, height, width, cell, still, 1)[0] for cell in FOG_CELLS)
        fields.append(np.clip(0.5 + 6.0 * (field - np.float32(np.quantile(field, 1 - FOG_COVER))), 0.0, 1.0))
        tints.append(rng.uniform(0.35, 0.75) + 0.12 * value_noise(rng, height, width, FOG_CELLS[1], still, 1)[0])
    return FOG_OPACITY * np.stack(fields), np.stack(tints)


def _occluder(track: Track, height: int, width: int) -> np.ndarray:
    """Share (T, H, W) of each pixel below the track's occluder, an ellipse; zeros in frames without one."""
    x = np.arange(width, dtype=np.float32) + 0.5
    y = np.arange(height, dtype=np.float32) + 0.5
    cx, cy, a, b = (track.cover_T4[:, i, None].astype(np.float32) for i in range(4))
    radius = np.sqrt((((x - cx) / a) ** 2)[:, None, :] + (((y - cy) / b) ** 2)[:, :, None])
    alpha = np.clip(0.5 - (radius - 1.0) * np.minimum(a, b)[:, :, None], 0.0, 1.0)
    return alpha * track.covered_T[:, None, None]


def render(
    rng: np.random.Generator,
    height: int,
    width: int,
    tracks: list[Track],
    backdrop_T2: np.ndarray,
    colour_3: np.ndarray,
    fog: bool,
    noise: float,
) -> Rendering:
    """Draw the tracks, the first one nearest, over a background that moves by `backdrop_T2` px."""
    frames = len(backdrop_T2)
    image = background(rng, height, width, colour_3, backdrop_T2)
    own = np.zeros((len(tracks), frames, height, width), bool)
    for index in reversed(range(len(tracks))):
        window = _window(tracks[index], height, width)
        u, v = _local(tracks[index], *window)
        alpha = _coverage(tracks[index], u, v)
        under = image[:, :, *window]
        under += (_surface(tracks[index].texture, u, v) - under) * alpha[:, None]
        own[index][:, *window] = alpha > 0.5
    visible, nearer = own.copy(), np.zeros_like(own[0])
    for index in range(len(tracks)):
        visible[index] &= ~nearer
        nearer |= own[index]

    covers = np.zeros((frames, height, width), np.float32)
    for track in tracks:
        if track.covered_T.any():
            covers = np.maximum(covers, _occluder(track, height, width))
    if covers.any():
        patch = background(rng, height, width, colour_3, backdrop_T2)
        image += (patch - image) * (COVER_OPACITY * covers[:, None])
    haze = np.zeros((frames, 1, height, width), np.float32)
    if fog:
        haze, tint = _fog(rng, frames, height, width)
        image += (tint - image) * haze
    if noise:
        image += noise * rng.standard_normal(image.shape, dtype=np.float32)

    area = np.maximum(visible.sum(axis=(2, 3)), 1)
    whole = [np.full(frames, _unit_area(t)) * t.half_axes_T2[:, 0] * t.half_axes_T2[:, 1] for t in tracks]
    return Rendering(
        frames_THW3=np.clip(image * 255.0 + 0.5, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1),
        visible_NTHW=visible,
        own_area_NT=own.sum(axis=(2, 3)),
        whole_area_NT=np.stack(whole),
        occluded_NT=(visible & (covers > 0.5)).sum(axis=(2, 3)) / area,
        fogged_NT=(visible & (haze[:, 0] > 0.5)).sum(axis=(2, 3)) / area,
    )


def _unit_area(track: Track) -> float:
    return UNIT_AREAS[track.category] * float((track.members_M3[:, 2] ** 2).sum())
