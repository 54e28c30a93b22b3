"""Scenes of SynthVIS: what moves how in one video, drawn from the video's own generator.

A video is *foggy*, *occluded*, both, or clean. Fog and occluders come with slow objects: only there can attention over
time at the same location help. Fast motion and objects that leave and return come in clean videos.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mssts.data.synthvis.render import SHAPES, Rendering, Texture, Track, render

LENGTHS = (4, 8)
NOISE = 0.02
# Of 20 consecutive videos: 3 foggy, 3 occluded, 1 both, 13 clean. Interleaved, so that any part of a split is mixed.
_FOGGY, _OCCLUDED = frozenset({2, 8, 15, 18}), frozenset({5, 11, 15, 17})
# Of 20: 16 of the configured size, 2 portrait, 1 higher, 1 square.
_PORTRAIT, _HIGHER, _SQUARE = frozenset({3, 12}), frozenset({7}), frozenset({16})


@dataclass(frozen=True)
class Scene:
    """One video before it is drawn: size in px, tracks (nearest first), background motion and colour, fog, noise."""

    height: int
    width: int
    tracks: list[Track]
    backdrop_T2: np.ndarray
    colour_3: np.ndarray
    fog: bool
    noise: float

    def render(self, rng: np.random.Generator) -> Rendering:
        """The frames and masks of the scene."""
        return render(rng, self.height, self.width, self.tracks, self.backdrop_T2, self.colour_3, self.fog, self.noise)


@dataclass(frozen=True)
class _Style:
    """How the objects of a kind of video move: speeds in px a frame, then the probability of each challenge."""

    speed: tuple[float, float]
    scale: float
    aspect: float
    border: float
    fast: float
    leave: float


_CLEAN = _Style((1.5, 3.2), scale=0.36, aspect=0.38, border=0.25, fast=0.3, leave=0.12)
_FOG = _Style((0.7, 1.4), scale=0.28, aspect=0.30, border=0.15, fast=0.0, leave=0.0)
_OCCLUDER = _Style((1.0, 2.6), scale=0.28, aspect=0.30, border=0.15, fast=0.0, leave=0.0)


def frame_size(index: int, height: int, width: int) -> tuple[int, int]:
    """(height, width) in px of video `index` of a split, mostly the configured size."""
    place = index % 20
    if place in _PORTRAIT:
        return width, height
    if place in _HIGHER:
        return height * 9 // 8, width
    if place in _SQUARE:
        return height * 5 // 4, height * 5 // 4
    return height, width


def video_scene(rng: np.random.Generator, index: int, height: int, width: int) -> Scene:
    """The scene of video `index` of a split whose configured frame size is height x width px."""
    place = index % 20
    fog, occluded = place in _FOGGY, place in _OCCLUDED
    style = _FOG if fog else _OCCLUDER if occluded else _CLEAN
    frames = int(rng.integers(LENGTHS[0], LENGTHS[1] + 1))
    return _scene(rng, frames, *frame_size(index, height, width), style, fog, occluded, NOISE)


def control_scene(rng: np.random.Generator, index: int, height: int, width: int) -> Scene:
    """A single clean, noise-free frame: repeated over a video it holds nothing that another frame could add."""
    return _scene(rng, 1, *frame_size(index, height, width), _CLEAN, False, False, 0.0)


def still_scene(rng: np.random.Generator, index: int, height: int, width: int) -> Scene:
    """A single clean frame for pre-training."""
    return _scene(rng, 1, *frame_size(index, height, width), _CLEAN, False, False, NOISE)


def _scene(
    rng: np.random.Generator,
    frames: int,
    height: int,
    width: int,
    style: _Style,
    fog: bool,
    occluded: bool,
    noise: float,
) -> Scene:
    colour_3 = rng.uniform(0.25, 0.75, 3)
    count = int(rng.choice([1, 2, 3], p=[0.3, 0.4, 0.3]))
    starts = _spread_starts(rng, count, height, width)
    tracks = [_track(rng, start, frames, height, width, style, colour_3, occluded) for start in starts]
    if rng.random() < 0.06:
        tracks.append(_crowd(rng, frames, height, width, style, colour_3))
    drift = _direction(rng) * rng.uniform(0.0, 1.2)
    return Scene(height, width, tracks, np.arange(frames)[:, None] * drift, colour_3, fog, noise)


def _direction(rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)])


def _spread_starts(rng: np.random.Generator, count: int, height: int, width: int) -> list[np.ndarray]:
    """Starting points that keep apart: of twelve candidates the one farthest from those already placed."""
    starts: list[np.ndarray] = []
    for _ in range(count):
        candidates = rng.uniform([0.2 * width, 0.2 * height], [0.8 * width, 0.8 * height], (12, 2))
        if starts:
            gaps = np.linalg.norm(candidates[:, None] - np.stack(starts), axis=-1).min(axis=1)
            starts.append(candidates[int(gaps.argmax())])
        else:
            starts.append(candidates[0])
    return starts


def _texture(rng: np.random.Generator, background_3: np.ndarray) -> Texture:
    """Two colours of which the first keeps away from the background's."""
    colours = rng.uniform(0.05, 0.95, (8, 3))
    first = colours[int(np.linalg.norm(colours - background_3, axis=1).argmax())]
    second = np.clip(first + rng.uniform(-0.45, 0.45, 3), 0.0, 1.0)
    kind, frequency = int(rng.integers(4)), rng.uniform(4.0, 8.0)
    direction, phase = rng.uniform(0, 2 * np.pi, 2)
    return Texture(np.stack([first, second]), kind, float(frequency), float(direction), float(phase))


def _half_axes(rng: np.random.Generator, frames: int, short_side: int, style: _Style) -> np.ndarray:
    """Half axes (T, 2) in px: constant, growing or shrinking, and stretching, as the style has it."""
    ramp = np.linspace(0.0, 1.0, frames)
    radius = rng.uniform(0.19, 0.27) * short_side * np.ones(frames)
    if rng.random() < style.scale:
        small, large = short_side * rng.uniform(0.13, 0.15), short_side * rng.uniform(0.26, 0.31)
        radius = small * (large / small) ** (ramp if rng.random() < 0.5 else ramp[::-1])
    stretch = rng.uniform(0.9, 1.12) * np.ones(frames)
    if rng.random() < style.aspect:
        low, high = rng.uniform(0.55, 0.68), rng.uniform(1.25, 1.45)
        stretch = low * (high / low) ** (ramp if rng.random() < 0.5 else ramp[::-1])
    return np.stack([radius * np.sqrt(stretch), radius / np.sqrt(stretch)], axis=1)


def _reflect(path: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Positions folded back into low..high like a ball between walls."""
    span = np.maximum(high - low, 1e-6)
    folded = np.mod(path - low, 2 * span)
    return low + np.where(folded > span, 2 * span - folded, folded)


def _centres(
    rng: np.random.Generator,
    start: np.ndarray,
    radius: float,
    frames: int,
    size: np.ndarray,
    style: _Style,
) -> np.ndarray:
    """Centres (T, 2) in px of an object of that largest radius; size = (width, height)."""
    velocity = _direction(rng) * rng.uniform(*style.speed)
    low, high = np.full(2, 0.85 * radius), size - 0.85 * radius
    course = rng.random()
    time = np.arange(frames)[:, None]
    if course < style.leave and frames > 1:
        return _excursion(rng, _reflect(start, low, high), radius, frames, size)
    if course < style.leave + style.fast:
        velocity = _direction(rng) * rng.uniform(4.5, 8.0)
    elif course < style.leave + style.fast + style.border:
        axis, far = int(rng.integers(2)), bool(rng.integers(2))
        start, depth = start.copy(), rng.uniform(-0.1, 0.4) * radius
        start[axis] = size[axis] - depth if far else depth
        velocity[axis] = abs(velocity[axis]) * (-0.5 if far else 0.5)
        low[axis], high[axis] = min(low[axis], start[axis]), max(high[axis], start[axis])
    return _reflect(start + velocity * time, low, high)


def _excursion(rng: np.random.Generator, start: np.ndarray, radius: float, frames: int, size: np.ndarray) -> np.ndarray:
    """Centres of an object that leaves through the nearest border and returns."""
    gaps = np.concatenate([start, size - start])
    side = int(gaps.argmin())
    outside = start.copy()
    outside[side % 2] = size[side % 2] + 1.5 * radius if side >= 2 else -1.5 * radius
    middle = rng.uniform(1.5, frames - 2.5) if frames > 4 else 1.5
    half = min(middle, frames - 1 - middle, 2.5) + 0.5
    gone = np.clip(1.4 * (1 - np.abs(np.arange(frames) - middle) / half), 0.0, 1.0)[:, None]
    wander = _direction(rng) * rng.uniform(0.5, 1.5) * np.arange(frames)[:, None]
    return start + (outside - start) * gone + wander * (1 - gone)


def _track(
    rng: np.random.Generator,
    start: np.ndarray,
    frames: int,
    height: int,
    width: int,
    style: _Style,
    colour_3: np.ndarray,
    occluded: bool,
) -> Track:
    category = int(rng.integers(len(SHAPES)))
    half_axes_T2 = _half_axes(rng, frames, min(height, width), style)
    radius = float(half_axes_T2.max())
    centres_T2 = _centres(rng, start, radius, frames, np.array([width, height], float), style)
    angles_T = np.deg2rad(rng.uniform(-20, 20) + rng.uniform(-3, 3) * np.arange(frames))
    covered_T, cover_T4 = _cover(rng, centres_T2, half_axes_T2, occluded)
    members_M3 = np.array([[0.0, 0.0, 1.0]])
    texture = _texture(rng, colour_3)
    return Track(category, centres_T2, half_axes_T2, angles_T, members_M3, texture, covered_T, cover_T4)


def _cover(
    rng: np.random.Generator, centres_T2: np.ndarray, half_axes_T2: np.ndarray, occluded: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Frames that an occluder passes (probability 0.4, at most half), and its ellipse, off the object's centre."""
    frames = len(centres_T2)
    radius_T1 = half_axes_T2.mean(axis=1, keepdims=True)
    jitter = rng.uniform(-0.5, 0.5, (frames, 2)) * radius_T1
    axes = rng.uniform(0.8, 1.15, (frames, 2)) * radius_T1
    order = rng.permutation(frames)
    covered = (rng.random(frames) < 0.4) & occluded
    if occluded and not covered.any():
        covered[order[0]] = True
    covered[order[np.cumsum(covered[order]) > frames // 2]] = False
    return covered, np.concatenate([centres_T2 + jitter, axes], axis=1)


def _crowd(
    rng: np.random.Generator, frames: int, height: int, width: int, style: _Style, colour_3: np.ndarray
) -> Track:
    """A group of small objects of one category that is annotated as one crowd region, farthest from the camera."""
    base = _track(rng, _spread_starts(rng, 1, height, width)[0], frames, height, width, style, colour_3, False)
    radius = 0.2 * min(height, width)
    places = np.array([[-0.65, -0.5], [0.6, -0.6], [0.0, 0.1], [-0.6, 0.65], [0.65, 0.6]])
    places = places + rng.uniform(-0.08, 0.08, places.shape)
    members_M3 = np.concatenate([places, np.full((len(places), 1), 0.36)], axis=1)
    half_axes_T2 = np.full((frames, 2), radius)
    return Track(
        base.category,
        base.centres_T2,
        half_axes_T2,
        base.angles_T,
        members_M3,
        base.texture,
        base.covered_T,
        base.cover_T4,
    )
