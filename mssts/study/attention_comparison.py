"""What the attention figures show of a baseline and a variant. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mssts.study.attention_cases import Case
from mssts.study.runs import Result


@dataclass(frozen=True)
class Picture:
    """The n frames shown of a case.

    Attributes:
        case: The case.
        frames: Positions of the frames in the video.
        images: (n, H, W, 3) in 0..1.
        masks: (n, H, W) bool, ground truth, at the size of the video.
        degraded: (n,) bool, `attention_cases.degraded_frames`.
    """

    case: Case
    frames: list[int]
    images: np.ndarray
    masks: np.ndarray
    degraded: np.ndarray


@dataclass(frozen=True)
class EncoderPanel:
    """Encoder maps of a case.

    Attributes:
        picture: Its frames.
        maps: (n, rows, columns) each, of baseline and variant.
        extent: (height, width) that a map covers, in pixels of the video.
        limits: Smallest and largest value of both models in the whole video.
        aurocs: AUROC for the instance, of baseline and variant; None where it is not defined.
    """

    picture: Picture
    maps: tuple[np.ndarray, np.ndarray]
    extent: tuple[float, float]
    limits: tuple[float, float]
    aurocs: tuple[float | None, float | None]


@dataclass(frozen=True)
class TemporalMap:
    """Attention of an encoder branch from the marked pixel, in the n frames shown.

    Attributes:
        maps: (n, h, w) in 0..1, on one scale for the whole clip.
        shares: (n,), part of the attention that goes to each frame.
    """

    maps: np.ndarray
    shares: np.ndarray


@dataclass(frozen=True)
class QueryPanel:
    """Maps of a query and of a token in a case that both models found.

    Attributes:
        picture: Its frames.
        length: Number of frames of the video.
        baseline, variant: (n, h, w) in 0..1, attention of the query, on one scale for the whole clip.
        temporal: What the encoder branches expose, by label.
        marked: Position among the frames shown, and x, y in pixels, of the pixel whose token `temporal` is about.
    """

    picture: Picture
    length: int
    baseline: np.ndarray
    variant: np.ndarray
    temporal: dict[str, TemporalMap]
    marked: tuple[int, int, int]


@dataclass(frozen=True)
class AttentionComparison:
    """Attention of the baseline and of a variant.

    Attributes:
        result: The result of the variant.
        title: Title of the variant.
        challenges: Every challenge that the dataset knows.
        encoder: Cases among all instances.
        queries: Cases among the instances that both models found.
        nothing_to_show: Labels of encoder branches and decoder blocks that expose no attention.
    """

    result: Result
    title: str
    challenges: list[str]
    encoder: list[EncoderPanel]
    queries: list[QueryPanel]
    nothing_to_show: list[str]
