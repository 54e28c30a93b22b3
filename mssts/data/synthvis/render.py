"""Render SynthVIS scenes: shapes, textures, occluders and fog as arrays over all frames of a video.

Coordinates are in px, x to the right and y down; the centre of the first pixel is at (0.5, 0.5). Colours are in 0..1.
All arithmetic is element-wise (no BLAS), so the number of threads cannot change a byte.

Shape suffixes: N objects, T frames, H and W pixels, M members of an object (one, or several for a crowd), 2 = (x, y),
3 = RGB.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

SQRT3 = float(np.sqrt(3.0))
OCCLUDER_OPACITY = 0.96
FOG_OPACITY = 0.93
FOG_COVERAGE = 0.45  # share of a frame that fog covers
FOG_CELLS = (16.0, 7.0)  # px


@dataclass(frozen=True)
class Texture:
    """Surface of an object: a pattern that mixes two colours and moves with the object.

    Attributes:
        colours_23: (2, 3) RGB in 0..1.
        pattern: 0 stripes, 1 checks, 2 rings, 3 spots.
        frequency: Of the pattern, in radians per half axis of the object.
        direction: Of the pattern in the object's frame, radians.
        phase: Of the pattern, radians.
    """

    colours_23: np.ndarray
    pattern: int
    frequency: float
    direction: float
    phase: float


@dataclass(frozen=True)
class Track:
    """Course of one object over the frames of a video.

    Attributes:
        category: Index of its shape in `SHAPES`.
        centres_T2: (T, 2) px.
        half_axes_T2: (T, 2) px, along the object's own axes.
        angles_T: (T,) radians.
        members_M3: (M, 3) offset u, offset v and scale of each member, in units of the half axes.
        texture: Its surface.
        occluded_T: (T,) bool, whether an occluder passes in front of it.
        occluder_T4: (T, 4) centre and half axes of that occluder in px.
    """

    category: int
    centres_T2: np.ndarray
    half_axes_T2: np.ndarray
    angles_T: np.ndarray
    members_M3: np.ndarray
    texture: Texture
    occluded_T: np.ndarray
    occluder_T4: np.ndarray

    @property
    def crowd(self) -> bool:
        """Whether the object is a group that is annotated as one crowd region."""
        return len(self.members_M3) > 1


@dataclass(frozen=True)
class Scene:
    """One video before it is rendered.

    Attributes:
        height, width: Frame size in px.
        tracks: Objects, the nearest first.
        background_offsets_T2: (T, 2) motion of the background in px.
        background_colour_3: (3,) mean colour of the background, RGB in 0..1.
        fog: Whether fog covers part of every frame.
        noise: Standard deviation of the pixel noise, in units of the colour range.
    """

    height: int
    width: int
    tracks: list[Track]
    background_offsets_T2: np.ndarray
    background_colour_3: np.ndarray
    fog: bool
    noise: float


@dataclass(frozen=True)
class Rendering:
    """Frames, and the ground truth of every object in the order of the tracks.

    Attributes:
        frames_THW3: (T, H, W, 3) uint8 RGB.
        visible_NTHW: (N, T, H, W) bool masks, cut by the border of the frame and by nearer objects, but not by
            occluders or fog [ours]: the mask continues below these.
        area_in_frame_NT: (N, T) area within the frame in px, regardless of nearer objects.
        full_area_NT: (N, T) area in px, regardless of the border and of nearer objects.
        occluded_share_NT, fogged_share_NT: (N, T) share of the visible mask below an occluder or fog, in 0..1.
    """

    frames_THW3: np.ndarray
    visible_NTHW: np.ndarray
    area_in_frame_NT: np.ndarray
    full_area_NT: np.ndarray
    occluded_share_NT: np.ndarray
    fogged_share_NT: np.ndarray


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


# In the order of the categories: signed distance to the outline in units of the half axes, negative inside.
SHAPES = (_disc, _square, _triangle, _cross, _ring)


def _unit_areas() -> list[float]:
    """Area of each shape, in squares of the half axes."""
    u, v = np.meshgrid(*2 * [np.linspace(-1.5, 1.5, 601)])
    return [float((distance(u, v) < 0).mean() * 9.0) for distance in SHAPES]


_UNIT_AREAS = _unit_areas()


def render(scene: Scene, rng: Generator) -> Rendering:
    """Render a scene.

    Args:
        scene: The scene.
        rng: The generator of the video, from which background, fog and noise are drawn.

    Returns:
        The frames and what is true of every object in them.
    """
    frames, height, width = len(scene.background_offsets_T2), scene.height, scene.width
    image = _background(scene, rng)
    in_frame = np.zeros((len(scene.tracks), frames, height, width), bool)
    for track, mask in reversed([*zip(scene.tracks, in_frame, strict=True)]):
        window = _window(track, height, width)
        u, v = _object_coordinates(track, *window)
        alpha = _coverage(track, u, v)
        below = image[:, :, *window]
        below += (_surface(track.texture, u, v) - below) * alpha[:, None]
        mask[:, *window] = alpha > 0.5
    visible = in_frame.copy()
    visible[1:] &= ~np.logical_or.accumulate(in_frame)[:-1]

    occluders = np.zeros((frames, height, width), np.float32)
    for track in scene.tracks:
        if track.occluded_T.any():
            occluders = np.maximum(occluders, _occluder(track, height, width))
    if occluders.any():
        image += (_background(scene, rng) - image) * (OCCLUDER_OPACITY * occluders[:, None])
    fog = np.zeros((frames, 1, height, width), np.float32)
    if scene.fog:
        fog, grey = _fog(rng, frames, height, width)
        image += (grey - image) * fog
    if scene.noise:
        image += scene.noise * rng.standard_normal(image.shape, dtype=np.float32)

    area = np.maximum(visible.sum(axis=(2, 3)), 1)
    return Rendering(
        frames_THW3=np.clip(image * 255.0 + 0.5, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1),
        visible_NTHW=visible,
        area_in_frame_NT=in_frame.sum(axis=(2, 3)),
        full_area_NT=np.stack([_full_area(track) for track in scene.tracks]),
        occluded_share_NT=(visible & (occluders > 0.5)).sum(axis=(2, 3)) / area,
        fogged_share_NT=(visible & (fog[:, 0] > 0.5)).sum(axis=(2, 3)) / area,
    )


def _full_area(track: Track) -> np.ndarray:
    """(T,) area of an object in px, regardless of the border of the frame and of nearer objects."""
    unit_area = _UNIT_AREAS[track.category] * float((track.members_M3[:, 2] ** 2).sum())
    return unit_area * track.half_axes_T2[:, 0] * track.half_axes_T2[:, 1]


def _window(track: Track, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of the frame that the object never leaves."""
    reach = 1.5 * float(track.half_axes_T2.max()) + 1
    low, high = track.centres_T2.min(axis=0) - reach, track.centres_T2.max(axis=0) + reach
    columns, rows = (
        slice(int(np.clip(first, 0, size)), int(np.clip(np.ceil(last), 0, size)))
        for first, last, size in zip(low, high, (width, height), strict=True)
    )
    return rows, columns


def _object_coordinates(track: Track, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates u and v (T, h, w) of the window's pixels along the object's axes, in units of its half axes."""
    x = np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5 - track.centres_T2[:, :1].astype(np.float32)
    y = np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5 - track.centres_T2[:, 1:].astype(np.float32)
    cos, sin = (f(track.angles_T).astype(np.float32)[:, None] for f in (np.cos, np.sin))
    a, b = (track.half_axes_T2[:, i, None].astype(np.float32) for i in (0, 1))
    u = (x * cos / a)[:, None, :] + (y * sin / a)[:, :, None]
    v = (y * cos / b)[:, :, None] - (x * sin / b)[:, None, :]
    return u, v


def _coverage(track: Track, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Share (T, h, w) of each pixel that the object covers, antialiased."""
    scale_px = track.half_axes_T2.min(axis=1).astype(np.float32)[:, None, None]
    # members as Python floats: numpy scalars would turn float32 into float64
    distances = [SHAPES[track.category]((u - du) / s, (v - dv) / s) * s for du, dv, s in track.members_M3.tolist()]
    return np.clip(0.5 - np.minimum.reduce(distances) * scale_px, 0.0, 1.0)


def _surface(texture: Texture, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Colours (T, 3, h, w) of the texture at object coordinates."""
    cos, sin = float(np.cos(texture.direction)), float(np.sin(texture.direction))
    p, q = (u * cos + v * sin) * texture.frequency + texture.phase, (v * cos - u * sin) * texture.frequency
    if texture.pattern == 0:
        wave = np.sin(p)
    elif texture.pattern == 1:
        wave = np.sin(p) * np.sin(q) * 1.6
    elif texture.pattern == 2:
        wave = np.sin(np.sqrt(u * u + v * v) * texture.frequency + texture.phase)
    else:
        wave = np.sin(p) + np.sin(q) - 0.4
    mix = np.clip(0.5 + 0.9 * wave, 0.0, 1.0)[:, None]
    first, second = texture.colours_23.astype(np.float32)[:, :, None, None]
    return first + (second - first) * mix


def _value_noise(
    rng: Generator, height: int, width: int, cell: float, offsets_T2: np.ndarray, channels: int
) -> np.ndarray:
    """Draw one field of smooth noise, seen through a moving window.

    Args:
        rng: Generator of the field.
        height, width: Size of the window in px.
        cell: Size of a noise cell in px.
        offsets_T2: (T, 2) top left corner x, y of the window in px, any sign.
        channels: Number of independent channels.

    Returns:
        (T, channels, H, W) float32 in -1..1.
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
    """Index of the noise cell of each pixel of an axis, and its smoothed position in the cell in 0..1."""
    position = (np.arange(size, dtype=np.float32) + np.float32(start)) / np.float32(cell)
    index = position.astype(np.int64)
    fraction = position - index
    return index, fraction * fraction * (3 - 2 * fraction)


def _background(scene: Scene, rng: Generator) -> np.ndarray:
    """Textured background (T, 3, H, W)."""
    size, offsets_T2 = (scene.height, scene.width), scene.background_offsets_T2
    image = 0.16 * _value_noise(rng, *size, 22.0, offsets_T2, 3)
    image += 0.09 * _value_noise(rng, *size, 6.0, offsets_T2, 1)
    image += scene.background_colour_3.astype(np.float32)[:, None, None]
    return image


def _fog(rng: Generator, frames: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Opacity and grey level (T, 1, H, W) of fog that is drawn anew for every frame."""
    still = np.zeros((1, 2))
    opacities, greys = [], []
    for _ in range(frames):
        field = sum(_value_noise(rng, height, width, cell, still, 1)[0] for cell in FOG_CELLS)
        opacities.append(np.clip(0.5 + 6.0 * (field - np.float32(np.quantile(field, 1 - FOG_COVERAGE))), 0.0, 1.0))
        greys.append(rng.uniform(0.35, 0.75) + 0.12 * _value_noise(rng, height, width, FOG_CELLS[1], still, 1)[0])
    return FOG_OPACITY * np.stack(opacities), np.stack(greys)


def _occluder(track: Track, height: int, width: int) -> np.ndarray:
    """Share (T, H, W) of each pixel below the track's occluder, an ellipse; zeros in frames without one."""
    x = np.arange(width, dtype=np.float32) + 0.5
    y = np.arange(height, dtype=np.float32) + 0.5
    cx, cy, a, b = (track.occluder_T4[:, i, None].astype(np.float32) for i in range(4))
    radius = np.sqrt((((x - cx) / a) ** 2)[:, None, :] + (((y - cy) / b) ** 2)[:, :, None])
    alpha = np.clip(0.5 - (radius - 1.0) * np.minimum(a, b)[:, :, None], 0.0, 1.0)
    return alpha * track.occluded_T[:, None, None]
