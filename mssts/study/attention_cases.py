"""Which instances the attention figures show: chosen by rule, never by hand [ours]. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from mssts.config import SyntheticSection
from mssts.core.errors import InputError
from mssts.core.files import read_json, verify_digest
from mssts.data.datasets import is_generated
from mssts.data.synthvis.covers import SPLITS, Covers, rendered_covers
from mssts.evaluation.attributes import attribute_measures, challenge_attributes
from mssts.evaluation.matching import MatchRecords
from mssts.study.runs import Result
from mssts.ytvis.annotations import Annotations
from mssts.ytvis.tracks import Track

_POSTER = ("scale_variation", "aspect_ratio_change", "partial_visibility", "occlusion")  # come first [poster]
FRAMES_SHOWN = 4
DEGRADED = 0.5  # at most this part of the largest area of the object can be seen clearly


@dataclass(frozen=True)
class Challenges:
    """The challenges of the instances of a split.

    Attributes:
        names: Every challenge that the dataset knows, those of the poster first.
        flags: {annotation id: {challenge: whether it shows it}}.
        measures: {annotation id: {challenge: how strongly}}; a challenge that is only recorded has no measure.
        covers: {annotation id: what fog and occluders cover}; empty for a user's dataset.
    """

    names: list[str]
    flags: dict[int, dict[str, bool]]
    measures: dict[int, dict[str, float]]
    covers: dict[int, Covers]


@dataclass(frozen=True)
class Case:
    """The instance that stands for a challenge.

    Attributes:
        challenge: The challenge.
        score: How strongly it shows the challenge; None if that is not measured.
        instance: Its annotation.
        ranks: Position of the prediction matched to it, among the predictions of its video, for baseline and variant;
            None for a model that did not find it.
    """

    challenge: str
    score: float | None
    instance: Track
    ranks: tuple[int | None, int | None]


def read_challenges(truth: Annotations, dataset: str, split: str, synthetic_config: SyntheticSection) -> Challenges:
    """The challenges of a split.

    Of a generated one, fog is measured too: the mean share of the object below it. The share below an occluder counts
    as occlusion where it is larger than what boxes of other objects cover.

    Raises:
        InputError: A generated split was made by another version or with another configuration.
    """
    flags, measures = challenge_attributes(truth), attribute_measures(truth)
    covers: dict[int, Covers] = {}
    if is_generated(dataset) and split in SPLITS:
        for video, tracks in truth.tracks_of.items():
            found = rendered_covers(synthetic_config, dataset, split, video)
            if [cover.fogged_T.size for cover in found] != [truth.videos[video].length] * len(tracks):
                raise InputError(
                    f"{truth.path}: video {video}: is not what the generator makes. Generate the data again."
                )
            covers |= {track.id: cover for track, cover in zip(tracks, found, strict=True)}
        for track in truth.tracks:
            visible_T, cover, of_track = track.masks.areas_T > 0, covers[track.id], measures[track.id]
            of_track["fog"] = float(cover.fogged_T[visible_T].mean())
            of_track["occlusion"] = max(of_track["occlusion"], float(cover.occluded_T[visible_T].max()))
    known = {name for shown in flags.values() for name in shown}
    names = sorted(known, key=lambda name: (_POSTER.index(name) if name in _POSTER else len(_POSTER), name))
    return Challenges(names, flags, measures, covers)


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


def found_by(result: Result) -> dict[int, int]:
    """`found_instances` of the files of a result."""
    path = result.directory / "predictions.json"
    verify_digest(path, result.recorded("predictions_sha256"), "Evaluate the run again.")
    return found_instances(result.read_matches(), [prediction["video_id"] for prediction in read_json(path)])


def select_cases(
    candidates: Iterable[Track], challenges: Challenges, baseline: dict[int, int], variant: dict[int, int]
) -> list[Case]:
    """For each challenge the candidate that shows it most, no instance twice.

    Args:
        candidates: Instances to choose from. Crowds are never chosen, nor what has no pixel.
        challenges: Of their split.
        baseline: Result of `found_instances`.
        variant: Result of `found_instances`.

    Returns:
        The cases. Among equal scores, and where a challenge is not measured, the smaller annotation id is chosen.
    """
    remaining = [one for one in candidates if not one.crowd and one.masks.areas_T.any()]
    cases = []
    for challenge in challenges.names:
        scores = {one.id: challenges.measures[one.id].get(challenge) for one in remaining}
        if showing := [one for one in remaining if challenges.flags[one.id].get(challenge)]:
            best = min(showing, key=lambda one: (-(scores[one.id] or 0), one.id))
            remaining = [one for one in remaining if one is not best]
            cases.append(Case(challenge, scores[best.id], best, (baseline.get(best.id), variant.get(best.id))))
    return cases


def shown_frames(areas_T: np.ndarray) -> list[int]:
    """At most `FRAMES_SHOWN` of the frames in which an instance of these areas is visible, evenly spread over them."""
    present = np.flatnonzero(areas_T)
    positions = np.linspace(0, len(present) - 1, min(FRAMES_SHOWN, len(present)))
    return [int(present[int(np.floor(position + 0.5))]) for position in positions]


def degraded_frames(instance: Track, covers: Covers | None) -> np.ndarray:
    """(T,) bool: frames in which at most half of the instance's largest area is visible and not covered."""
    areas_T = instance.masks.areas_T
    clear_T = areas_T if covers is None else areas_T * (1 - covers.covered_T)
    return clear_T <= DEGRADED * areas_T.max()


def marked_pixel(masks_nHW: np.ndarray, frames: list[int]) -> tuple[int, int, int]:
    """The shown frame in which least of the instance is visible, and x, y of the most central pixel there.

    Args:
        masks_nHW: Masks of the frames shown.
        frames: Their positions in the video.
    """
    frame, mask = min(zip(frames, masks_nHW, strict=True), key=lambda one: (int(one[1].sum()), one[0]))
    rows, columns = np.nonzero(mask)
    nearest = int(np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2))
    return frame, int(columns[nearest]), int(rows[nearest])
