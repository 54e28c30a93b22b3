"""Which videos the qualitative figure shows, chosen by rule: never by hand. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mssts.evaluation.matching import MatchRecords

DETECTIONS = 10  # that count of each category and video, as in AR10
RULES = ("gain", "loss", "best", "median", "worst")
"""In this order; no video is shown twice."""


@dataclass(frozen=True)
class Chosen:
    """A video that a rule chose.

    Attributes:
        rule: One of `RULES`.
        video_id: Its id.
        baseline: Share of its instances that the baseline finds, averaged over the IoU thresholds.
        variant: Likewise.
    """

    rule: str
    video_id: int
    baseline: float
    variant: float


def shares_of(records: MatchRecords) -> dict[int, float | None]:
    """AR10 of each video alone: the share of its instances that are found, averaged over the ten IoU thresholds.

    Returns:
        {video id: share in 0..1, None for a video without instances}.
    """
    view = records.views.index("all")
    found_V = np.zeros(len(records.video_ids))
    for group in records.categories:
        hits_N = group.matched_ATN[view].mean(0) * (group.rank_N < DETECTIONS)
        found_V += np.bincount(group.video_N, hits_N, len(found_V))
    instances_V = sum((group.positives_AV[view] for group in records.categories), np.zeros(len(found_V), dtype=int))
    counted = zip(records.video_ids, found_V.tolist(), instances_V.tolist(), strict=True)
    return {key: found / instances if instances else None for key, found, instances in counted}


def shares_of_both(
    baseline: Mapping[int, float | None], variant: Mapping[int, float | None]
) -> dict[int, tuple[float, float]]:
    """Both shares of every video that has instances, by video id, in ascending order."""
    return {
        key: (one, other)
        for key, one in sorted(baseline.items())
        if one is not None and (other := variant[key]) is not None
    }


def choose(baseline: Mapping[int, float | None], variant: Mapping[int, float | None]) -> list[Chosen]:
    """Choose a video by each rule, as long as there are videos.

    `gain` and `loss`: the variant finds most more, and most less, than the baseline; none if nowhere. The others rank
    by the mean of both shares. Among equal ones the smallest id is chosen.

    Args:
        baseline: {video id: share found}, None for a video without instances; such a video is never chosen.
        variant: Likewise.
    """
    found = shares_of_both(baseline, variant)
    chosen: list[Chosen] = []
    for rule in RULES:
        left = [key for key in found if key not in {one.video_id for one in chosen}]
        if rule in ("gain", "loss"):
            gains = {key: (found[key][1] - found[key][0]) * (1 if rule == "gain" else -1) for key in left}
            left = sorted((key for key in left if gains[key] > 0), key=lambda key: -gains[key])
        else:
            left.sort(key=lambda key: sum(found[key]), reverse=rule == "best")
        if left:
            video = left[(len(left) - 1) // 2 if rule == "median" else 0]
            chosen.append(Chosen(rule, video, *found[video]))
    return chosen
