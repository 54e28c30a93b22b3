"""Which runs and which instances the attention figure shows: chosen by rule, never by hand [ours]."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mssts.core.files import read_json
from mssts.evaluation.attributes import attribute_measures, challenge_attributes
from mssts.evaluation.matching import MatchRecords
from mssts.evaluation.records_file import read_records
from mssts.study.resolve import BASELINE
from mssts.study.runs import Result, StudyRuns
from mssts.ytvis.ground_truth import GroundTruth, Instance

CHALLENGES = ("scale_variation", "aspect_ratio_change", "partial_visibility", "occlusion")
FRAMES_SHOWN = 4
_FILES = ("predictions.json", "matches.npz")


@dataclass(frozen=True)
class Case:
    """An instance that both models found. score: how strongly it shows the challenge; ranks: of its predictions.

    ranks: position, among the predictions of its video, of the one matched to it by the baseline and by the variant.
    """

    challenge: str
    score: float
    instance: Instance
    ranks: tuple[int, int]


def chosen_variant(runs: StudyRuns) -> str | None:
    """The study's first variant with all contributions; else its first with the MS-STS module over the whole clip."""
    with_module, complete = [], []
    for variant in runs.study.variants:
        config = runs.study.configs[variant]
        module = config.model.encoder.ms_sts
        if module.enabled and not module.own_frame_only:
            with_module.append(variant)
            if config.model.decoder.temporal.enabled and config.loss.foreground_background.enabled:
                complete.append(variant)
    return next(iter(complete + with_module), None)


def chosen_results(runs: StudyRuns) -> tuple[Result, Result] | None:
    """Baseline and variant of the first dataset, split, backbone and seed that both have; None if there is none."""
    variant = chosen_variant(runs)
    if variant is None:
        return None
    for place in runs.benchmarks():
        others = {result.run.seed: result for result in runs.select(*place, variant)}
        for result in runs.select(*place, BASELINE):
            pair = (result, others[result.run.seed])
            if all(_complete(one) for one in pair):
                return pair
    return None


def _complete(result: Result) -> bool:
    files = [result.run.directory / "checkpoint.pt", *(result.matches.with_name(name) for name in _FILES)]
    return result.metrics is not None and all(path.is_file() for path in files)


def found_instances(records: MatchRecords, video_of_prediction: list[int]) -> dict[int, int]:
    """Annotation id -> rank of its prediction among those of its video, at IoU 0.5, whatever the category."""
    first_of_video: dict[int, int] = {}
    for position, video in enumerate(video_of_prediction):
        first_of_video.setdefault(video, position)
    pooled = records.pooled
    found: dict[int, int] = {}
    for annotation, prediction in zip(pooled.annotation_TN[0].tolist(), pooled.prediction_N.tolist(), strict=True):
        if annotation:
            found.setdefault(annotation, prediction - first_of_video[video_of_prediction[prediction]])
    return found


def choose_cases(truth: GroundTruth, baseline: dict[int, int], variant: dict[int, int]) -> list[Case]:
    """For each challenge the instance that shows it most among those that both models found, no instance twice.

    baseline, variant: as `found_instances` returns. Equal scores: the smaller annotation id.
    """
    flags, measures = challenge_attributes(truth), attribute_measures(truth)
    cases: list[Case] = []
    for challenge in CHALLENGES:
        used = {case.instance.id for case in cases}
        candidates = [
            instance
            for instance in truth.instances
            if flags[instance.id].get(challenge)
            and not instance.crowd
            and instance.id in baseline
            and instance.id in variant
            and instance.id not in used
        ]
        if candidates:
            best = min(candidates, key=lambda instance: (-measures[instance.id][challenge], instance.id))
            score = measures[best.id][challenge]
            cases.append(Case(challenge, score, best, (baseline[best.id], variant[best.id])))
    return cases


def found_by(result: Result) -> dict[int, int]:
    """`found_instances` of the files of a result."""
    predictions = read_json(result.matches.with_name("predictions.json"))
    return found_instances(read_records(result.matches), [prediction["video_id"] for prediction in predictions])


def shown_frames(masks_THW: np.ndarray) -> list[int]:
    """At most `FRAMES_SHOWN` of the frames in which the instance is seen, evenly spread over them."""
    present = np.flatnonzero(masks_THW.any(axis=(1, 2)))
    places = np.linspace(0, len(present) - 1, min(FRAMES_SHOWN, len(present)))
    return [int(present[int(np.floor(place + 0.5))]) for place in places]


def looking_pixel(masks_THW: np.ndarray, frames: list[int]) -> tuple[int, int, int]:
    """(frame, x, y): the frame, of those shown, in which least of the instance is seen, and its most central pixel."""
    frame = min(frames, key=lambda t: (int(masks_THW[t].sum()), t))
    rows, columns = np.nonzero(masks_THW[frame])
    nearest = int(np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2))
    return frame, int(columns[nearest]), int(rows[nearest])
