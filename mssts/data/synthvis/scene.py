"""Draw the scenes of SynthVIS: what moves how in one video, from the generator of that video.

A video is *foggy*, *occluded*, both, or *clean*. Fog and occluders come with slow objects, because only then can
attention over time at the same location help. Fast motion and objects that leave and return occur in clean videos.

Shape suffixes as in `mssts.data.synthvis.render`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from mssts.data.synthvis.render import SHAPES, Scene, Texture, Track

LENGTHS = (4, 8)
NOISE = 0.02


@dataclass(frozen=True)
class _Style:
    """One kind of video, and how the objects in it move.

    Attributes:
        speed: Lowest and highest speed in px per frame.
        scale, aspect: Probability that the size, or the aspect ratio, changes over the video.
        border: Probability that the object moves along the border of the frame and is cut by it.
        fast: Probability of fast motion.
        leave: Probability that the object leaves the frame and returns.
        fog: Whether the video is foggy.
        occluded: Whether occluders pass in front of the objects.
    """

    speed: tuple[float, float]
    scale: float
    aspect: float
    border: float
    fast: float = 0.0
    leave: float = 0.0
    fog: bool = False
    occluded: bool = False


_CLEAN = _Style((1.5, 3.2), scale=0.36, aspect=0.38, border=0.25, fast=0.3, leave=0.12)
_FOGGY = _Style((0.7, 1.4), scale=0.28, aspect=0.30, border=0.15, fog=True)
_OCCLUDED = _Style((1.0, 2.6), scale=0.28, aspect=0.30, border=0.15, occluded=True)
# Of 20 consecutive videos: 3 foggy, 3 occluded, 1 both, 13 clean. Interleaved, so that any part of a split is mixed.
_STYLES = dict.fromkeys((2, 8, 18), _FOGGY) | dict.fromkeys((5, 11, 17), _OCCLUDED)
_STYLES[15] = replace(_FOGGY, occluded=True)


def draw_length(rng: Generator) -> int:
    """Draw the number of frames of a video."""
    return int(rng.integers(LENGTHS[0], LENGTHS[1] + 1))


def video_scene(rng: Generator, index: int, height: int, width: int) -> Scene:
    """Draw the scene of a video.

    Args:
        rng: Generator of the video.
        index: Index of the video in its split; it decides on fog, occluders and the frame format.
        height, width: Configured frame size in px.
    """
    return _scene(rng, draw_length(rng), _frame_size(index, height, width), _STYLES.get(index % 20, _CLEAN))


def still_scene(rng: Generator, index: int, height: int, width: int, noise: float = NOISE) -> Scene:
    """Draw a clean scene of one frame, for a still image or for a video that repeats the frame.

    Args:
        rng: Generator of the image.
        index: Index of the image in its split.
        height, width: Configured frame size in px.
        noise: Standard deviation of the pixel noise. With 0, a repetition of the frame adds no information.
    """
    return _scene(rng, 1, _frame_size(index, height, width), _CLEAN, noise)


def _frame_size(index: int, height: int, width: int) -> tuple[int, int]:
    """(height, width) in px of video `index` of a split, mostly the configured size."""
    # Of 20 consecutive videos: 16 of the configured size, 2 in portrait format, 1 taller, 1 square.
    portrait, taller, square = (width, height), (height * 9 // 8, width), (height * 5 // 4, height * 5 // 4)
    return {3: portrait, 12: portrait, 7: taller, 16: square}.get(index % 20, (height, width))


def _scene(rng: Generator, frames: int, size: tuple[int, int], style: _Style, noise: float = NOISE) -> Scene:
    colour_3 = rng.uniform(0.25, 0.75, 3)
    count = int(rng.choice([1, 2, 3], p=[0.3, 0.4, 0.3]))
    starts = _spread_starts(rng, count, size)
    tracks = [_track(rng, start, frames, size, style, colour_3) for start in starts]
    if rng.random() < 0.06:
        tracks.append(_crowd(rng, frames, size, style, colour_3))
    drift = _direction(rng) * rng.uniform(0.0, 1.2)
    return Scene(*size, tracks, np.arange(frames)[:, None] * drift, colour_3, style.fog, noise)


def _direction(rng: Generator) -> np.ndarray:
    """Unit vector (x, y) of random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)])


def _spread_starts(rng: Generator, count: int, size: tuple[int, int]) -> list[np.ndarray]:
    """Starting points (x, y) in px that keep apart: each is the candidate of twelve farthest from the earlier ones."""
    height, width = size
    starts: list[np.ndarray] = []
    for _ in range(count):
        candidates = rng.uniform([0.2 * width, 0.2 * height], [0.8 * width, 0.8 * height], (12, 2))
        gaps = np.linalg.norm(candidates[:, None] - np.array(starts).reshape(-1, 2), axis=-1)
        starts.append(candidates[int(gaps.min(axis=1, initial=np.inf).argmax())])
    return starts


def _texture(rng: Generator, background_3: np.ndarray) -> Texture:
    """Texture whose first colour differs from the background's."""
    colours = rng.uniform(0.05, 0.95, (8, 3))
    first = colours[int(np.linalg.norm(colours - background_3, axis=1).argmax())]
    second = np.clip(first + rng.uniform(-0.45, 0.45, 3), 0.0, 1.0)
    pattern, frequency = int(rng.integers(4)), rng.uniform(4.0, 8.0)
    direction, phase = rng.uniform(0, 2 * np.pi, 2)
    return Texture(np.stack([first, second]), pattern, float(frequency), float(direction), float(phase))


def _half_axes(rng: Generator, frames: int, short_side: int, style: _Style) -> np.ndarray:
    """Half axes (T, 2) in px, either constant or changing in size or aspect ratio."""
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
    """Fold positions back into low..high, as a ball bounces between walls."""
    span = np.maximum(high - low, 1e-6)
    folded = np.mod(path - low, 2 * span)
    return low + np.where(folded > span, 2 * span - folded, folded)


def _centres(
    rng: Generator, start: np.ndarray, radius: float, frames: int, size_2: np.ndarray, style: _Style
) -> np.ndarray:
    """Centres (T, 2) in px of an object with that largest half axis; size_2: (width, height) of the frame."""
    velocity = _direction(rng) * rng.uniform(*style.speed)
    low, high = np.full(2, 0.85 * radius), size_2 - 0.85 * radius
    course = rng.random()
    if course < style.leave and frames > 1:
        return _excursion(rng, _reflect(start, low, high), radius, frames, size_2)
    if course < style.leave + style.fast:
        velocity = _direction(rng) * rng.uniform(4.5, 8.0)
    elif course < style.leave + style.fast + style.border:
        axis, far = int(rng.integers(2)), bool(rng.integers(2))
        start, depth = start.copy(), rng.uniform(-0.1, 0.4) * radius
        start[axis] = size_2[axis] - depth if far else depth
        velocity[axis] = abs(velocity[axis]) * (-0.5 if far else 0.5)
        low[axis], high[axis] = min(low[axis], start[axis]), max(high[axis], start[axis])
    return _reflect(start + velocity * np.arange(frames)[:, None], low, high)


def _excursion(rng: Generator, start: np.ndarray, radius: float, frames: int, size_2: np.ndarray) -> np.ndarray:
    """Centres (T, 2) in px of an object that leaves through the nearest border and returns."""
    side = int(np.concatenate([start, size_2 - start]).argmin())
    outside = start.copy()
    outside[side % 2] = size_2[side % 2] + 1.5 * radius if side >= 2 else -1.5 * radius
    middle = rng.uniform(1.5, frames - 2.5) if frames > 4 else 1.5
    half = min(middle, frames - 1 - middle, 2.5) + 0.5
    gone = np.clip(1.4 * (1 - np.abs(np.arange(frames) - middle) / half), 0.0, 1.0)[:, None]
    drift = _direction(rng) * rng.uniform(0.5, 1.5) * np.arange(frames)[:, None]
    return start + (outside - start) * gone + drift * (1 - gone)


def _track(
    rng: Generator, start: np.ndarray, frames: int, size: tuple[int, int], style: _Style, background_3: np.ndarray
) -> Track:
    category = int(rng.integers(len(SHAPES)))
    half_axes_T2 = _half_axes(rng, frames, min(size), style)
    centres_T2 = _centres(rng, start, float(half_axes_T2.max()), frames, np.array(size[::-1], float), style)
    angles_T = np.deg2rad(rng.uniform(-20, 20) + rng.uniform(-3, 3) * np.arange(frames))
    occluder = _draw_occluder(rng, centres_T2, half_axes_T2, style.occluded)
    members_M3 = np.array([[0.0, 0.0, 1.0]])
    return Track(category, centres_T2, half_axes_T2, angles_T, members_M3, _texture(rng, background_3), *occluder)


def _draw_occluder(
    rng: Generator, centres_T2: np.ndarray, half_axes_T2: np.ndarray, occluded: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Frames that an occluder passes, and its ellipse, which is off the centre of the object.

    It passes each frame with probability 0.4; at least one and at most half of the frames if `occluded`, else none.
    """
    frames = len(centres_T2)
    radius_T1 = half_axes_T2.mean(axis=1, keepdims=True)
    jitter_T2 = rng.uniform(-0.5, 0.5, (frames, 2)) * radius_T1
    axes_T2 = rng.uniform(0.8, 1.15, (frames, 2)) * radius_T1
    order = rng.permutation(frames)
    occluded_T = (rng.random(frames) < 0.4) & occluded
    if occluded and not occluded_T.any():
        occluded_T[order[0]] = True
    occluded_T[order[np.cumsum(occluded_T[order]) > frames // 2]] = False
    return occluded_T, np.concatenate([centres_T2 + jitter_T2, axes_T2], axis=1)


def _crowd(rng: Generator, frames: int, size: tuple[int, int], style: _Style, background_3: np.ndarray) -> Track:
    """A group of small objects of one category that is annotated as one crowd region, farthest from the camera."""
    style = replace(style, occluded=False)
    track = _track(rng, _spread_starts(rng, 1, size)[0], frames, size, style, background_3)
    centres_52 = np.array([[-0.65, -0.5], [0.6, -0.6], [0.0, 0.1], [-0.6, 0.65], [0.65, 0.6]])
    centres_52 += rng.uniform(-0.08, 0.08, centres_52.shape)
    members_53 = np.insert(centres_52, 2, 0.36, axis=1)
    return replace(track, half_axes_T2=np.full((frames, 2), 0.2 * min(size)), members_M3=members_53)
