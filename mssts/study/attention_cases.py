"""Which runs and which instances the attention figure shows: chosen by rule, never by hand [ours]. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mssts.config import ModelSection
from mssts.core.files import read_json, verify_digest
from mssts.evaluation.attributes import attribute_measures, challenge_attributes
from mssts.evaluation.matching import MatchRecords
from mssts.evaluation.records_file import MATCHES
from mssts.study.resolve import BASELINE
from mssts.study.runs import Result, StudyRuns
from mssts.ytvis.annotations import Annotations
from mssts.ytvis.tracks import Track

CHALLENGES = ("scale_variation", "aspect_ratio_change", "partial_visibility", "occlusion")
FRAMES_SHOWN = 4


@dataclass(frozen=True)
class Case:
    """An instance that both models found.

    Attributes:
        challenge: The challenge that it stands for.
        score: How strongly it shows the challenge.
        instance: Its annotation.
        ranks: Position of the prediction matched to it, among the predictions of its video, for baseline and variant.
    """

    challenge: str
    score: float
    instance: Track
    ranks: tuple[int, int]


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
class Panel:
    """A case with its n frames shown and their maps.

    Attributes:
        case: The case.
        frames: Positions of the frames in the video.
        images: (n, H, W, 3) in 0..1.
        masks: (n, H, W) bool, ground truth.
        baseline, variant: (n, h, w) in 0..1, attention of the query, on one scale for the whole clip.
        temporal: What the encoder branches expose, by label.
        marked: Position among the frames shown, and x, y in pixels, of the pixel whose token `temporal` is about.
    """

    case: Case
    frames: list[int]
    images: np.ndarray
    masks: np.ndarray
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
        panels: One per case.
        nothing_to_show: Labels of encoder branches and decoder blocks that expose no attention.
    """

    result: Result
    title: str
    panels: list[Panel]
    nothing_to_show: list[str]


def select_variant(runs: StudyRuns) -> str | None:
    """The study's first variant with all contributions; else with MS-STS over the whole clip; else with own parts."""

    def rank(variant: str) -> int:
        config = runs.study.configs[variant]
        module = config.model.encoder.ms_sts
        if not module.enabled or module.own_frame_only:
            return int(_has_parts(config.model))
        return 3 if config.model.decoder.temporal.enabled and config.loss.foreground_background.enabled else 2

    best = max(runs.study.variants, key=rank)
    return best if rank(best) else None


def _has_parts(model: ModelSection) -> bool:
    return bool(model.encoder.branches or model.decoder.blocks)


def select_results(runs: StudyRuns) -> tuple[Result, Result] | None:
    """Baseline and variant of the first dataset, split, backbone and seed that both have; None if there is none."""
    variant = select_variant(runs)
    if variant is None:
        return None
    for benchmark in runs.benchmarks():
        for pair in zip(runs.select(*benchmark, BASELINE), runs.select(*benchmark, variant), strict=False):
            if all(map(_complete, pair)):
                return pair
    return None


def further_results(runs: StudyRuns, chosen: Result) -> list[Result]:
    """Results of the other variants with registered parts, of the dataset, split, backbone and seed of `chosen`."""
    run = chosen.run
    return [
        result
        for variant in runs.study.variants
        if variant != run.variant and _has_parts(runs.study.configs[variant].model)
        for result in runs.select(run.dataset, chosen.split, run.backbone, variant)
        if result.run.seed == run.seed and _complete(result)
    ]


def _complete(result: Result) -> bool:
    files = [
        result.run.directory / "checkpoint.pt",
        *(result.directory / name for name in (MATCHES, "predictions.json")),
    ]
    return result.metrics is not None and all(path.is_file() for path in files)


def found_instances(records: MatchRecords, video_of_prediction: list[int]) -> dict[int, int]:
    """Rank of the prediction matched at IoU 0.5, among those of its video, by annotation id, whatever the category."""
    first_of_video: dict[int, int] = {}
    for position, video in enumerate(video_of_prediction):
        first_of_video.setdefault(video, position)
    pooled = records.pooled
    found: dict[int, int] = {}
    for annotation, prediction in zip(pooled.annotation_TN[0].tolist(), pooled.prediction_N.tolist(), strict=True):
        if annotation:
            found.setdefault(annotation, prediction - first_of_video[video_of_prediction[prediction]])
    return found


def select_cases(truth: Annotations, baseline: dict[int, int], variant: dict[int, int]) -> list[Case]:
    """For each challenge the instance that shows it most among those that both models found, no instance twice.

    Args:
        truth: Ground truth of the split.
        baseline: Result of `found_instances`.
        variant: Result of `found_instances`.

    Returns:
        The cases. Among equal scores, the smaller annotation id is chosen.
    """
    flags, measures = challenge_attributes(truth), attribute_measures(truth)
    remaining = [one for one in truth.tracks if not one.crowd and one.id in baseline.keys() & variant.keys()]
    cases = []
    for challenge in CHALLENGES:
        if showing := [instance for instance in remaining if flags[instance.id].get(challenge)]:
            best = min(showing, key=lambda instance: (-measures[instance.id][challenge], instance.id))
            remaining = [instance for instance in remaining if instance is not best]
            cases.append(Case(challenge, measures[best.id][challenge], best, (baseline[best.id], variant[best.id])))
    return cases


def found_by(result: Result) -> dict[int, int]:
    """`found_instances` of the files of a result."""
    path = result.directory / "predictions.json"
    verify_digest(path, result.recorded("predictions_sha256"), "Evaluate the run again.")
    return found_instances(result.read_matches(), [prediction["video_id"] for prediction in read_json(path)])


def shown_frames(masks_THW: np.ndarray) -> list[int]:
    """At most `FRAMES_SHOWN` of the frames in which the instance is visible, evenly spread over them."""
    present = np.flatnonzero(masks_THW.any(axis=(1, 2)))
    positions = np.linspace(0, len(present) - 1, min(FRAMES_SHOWN, len(present)))
    return [int(present[int(np.floor(position + 0.5))]) for position in positions]


def marked_pixel(masks_THW: np.ndarray, frames: list[int]) -> tuple[int, int, int]:
    """The shown frame in which least of the instance is visible, and x, y of the most central pixel there."""
    frame = min(frames, key=lambda t: (int(masks_THW[t].sum()), t))
    rows, columns = np.nonzero(masks_THW[frame])
    nearest = int(np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2))
    return frame, int(columns[nearest]), int(rows[nearest])
