"""Simulate how often the 95 % bootstrap interval covers the true difference in AP.

    python benchmarks/statistics_coverage.py [--categories 5] [--objects 4] [--videos 300] [--sets 1000]
        [--replicates 1000] [--seed 1] [--family]

Every simulated data set holds the match records of two methods on the same videos. Each video and each object has a
difficulty that both methods share, so the methods are correlated as real ones are. The second method is better by a
shift, or not at all (the null comparison, in which an interval without 0 is a false alarm). The true difference is the
mean over data sets so large that neither chance nor the bias of AP on few videos matters. `--videos 10 20 30` shows
from which number of videos the intervals can be trusted, `--objects 1` with one object a video.

`--family` instead compares a baseline with four equal methods, over all objects and over six challenges, and prints in
how many data sets at least one interval of the family excludes 0.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from mssts.evaluation.average_precision import AP_METRICS, ap_metrics
from mssts.evaluation.matching import ATTRIBUTE_VIEW, IOU_THRESHOLDS, GroupRecords, MatchRecords
from mssts.evaluation.statistics import MIN_VIDEOS, bootstrap_intervals, resampled_metrics, resamples_of_videos
from mssts.study.differences import restrict_to_subset

POPULATION_VIDEOS, POPULATIONS = 20_000, 20
FALSE_PER_VIDEO = 2.0  # mean number, in addition to 2.5 detections of objects
CHALLENGES = (0.5, 0.4, 0.3, 0.25, 0.2, 0.15)  # share of the objects, as on SynthVIS
FAMILY_METHODS = 4  # beside the baseline
SHIFT = 0.25  # of the second method's quality, in standard deviations of the difficulty


def _group(
    video_N: np.ndarray, score_N: np.ndarray, quality_N: np.ndarray, shown_AN: np.ndarray, positives_AV: np.ndarray
) -> GroupRecords:
    """Records of one category, in which a detection is right at the IoU thresholds up to its quality."""
    order = np.argsort(-score_N, kind="stable")
    hit_TN = quality_N[order] >= IOU_THRESHOLDS[:, None]
    matched_ATN = hit_TN & shown_AN[:, None, order]
    return GroupRecords(
        video_N=video_N[order].astype(np.int32),
        rank_N=np.zeros(order.size, dtype=np.int32),
        score_N=score_N[order],
        prediction_N=order.astype(np.int32),
        matched_ATN=matched_ATN,
        ignored_ATN=hit_TN & ~matched_ATN,
        annotation_TN=np.zeros(hit_TN.shape, dtype=np.int64),
        positives_AV=positives_AV.astype(np.int32),
    )


def simulate(
    rng: np.random.Generator,
    videos: int,
    categories: int,
    advantages: Sequence[float],
    objects: int = 4,
    challenges: Sequence[float] = (),
    false_per_video: float = FALSE_PER_VIDEO,
) -> list[MatchRecords]:
    """Draw the match records of methods on the same videos.

    Args:
        rng: Generator of all random choices.
        videos, categories: Number of videos and of categories.
        advantages: Of each method, in standard deviations of the difficulty.
        objects: The most objects of a video; the fewest is 1.
        challenges: For each challenge the share of the objects that show it.
        false_per_video: Mean number of detections per video that belong to no object.
    """
    objects_V = rng.integers(1, objects + 1, videos)
    video_O = np.repeat(np.arange(videos), objects_V)
    share = 1 / np.arange(1, categories + 1) ** 0.5
    category_O = rng.choice(categories, size=video_O.size, p=share / share.sum())
    difficulty_O = rng.normal(0, 0.6, videos)[video_O] + rng.normal(0, 0.8, video_O.size)
    shown_AO = rng.random((1 + len(challenges), video_O.size)) < np.array([1.0, *challenges])[:, None]
    views = ("all", *(f"{ATTRIBUTE_VIEW}{name}" for name in range(len(challenges))))
    methods = []
    for advantage in advantages:
        strength_O = 1.0 + advantage - difficulty_O + rng.normal(0, 0.6, video_O.size)
        quality_O = 1 / (1 + np.exp(-strength_O))
        false_F = rng.integers(0, videos, rng.poisson(false_per_video * videos))
        video_N = np.concatenate([video_O, false_F])
        quality_N = np.concatenate([quality_O, np.zeros(false_F.size)])
        score_N = np.concatenate([strength_O + rng.normal(0, 0.8, video_O.size), rng.normal(0, 1, false_F.size)])
        category_N = np.concatenate([category_O, rng.integers(0, categories, false_F.size)])
        shown_AN = np.concatenate([shown_AO, np.zeros((len(views), false_F.size), dtype=bool)], axis=1)

        def group(in_N: np.ndarray | slice, in_O: np.ndarray | slice) -> GroupRecords:
            positives = [np.bincount(video_O[in_O][shown], minlength=videos) for shown in shown_AO[:, in_O]]
            return _group(video_N[in_N], score_N[in_N], quality_N[in_N], shown_AN[:, in_N], np.array(positives))  # noqa: B023

        groups = tuple(group(category_N == k, category_O == k) for k in range(categories))
        pooled = group(slice(None), slice(None))
        methods.append(MatchRecords(tuple(range(videos)), tuple(range(categories)), views, groups, pooled))
    return methods


def true_difference(rng: np.random.Generator, options: argparse.Namespace) -> tuple[float, float]:
    """Simulate the difference in AP, second - first, over all possible videos; returns it and its standard error."""
    weights = np.ones((1, POPULATION_VIDEOS))
    differences = []
    for _ in range(POPULATIONS):
        methods = simulate(rng, POPULATION_VIDEOS, options.categories, (0.0, SHIFT), options.objects)
        first, second = (ap_metrics(records, 0, weights, ("AP",))["AP"] for records in methods)
        differences.append(float((second - first)[0]))
    return float(np.mean(differences)), float(np.std(differences, ddof=1) / np.sqrt(POPULATIONS))


def coverage(options: argparse.Namespace) -> None:
    """Print how many intervals cover the true difference, and how many of the null comparisons exclude 0."""
    rng = np.random.default_rng(options.seed)
    truth, error = true_difference(rng, options)
    print(
        f"{options.categories} categories, up to {options.objects} objects: true difference {truth:.5f} "
        f"(standard error {error:.5f}); {options.replicates} replicates",
        flush=True,
    )
    for videos in options.videos:
        shifted, null = [], []
        for _ in range(options.sets):
            for found, shift in ((shifted, SHIFT), (null, 0.0)):
                methods = simulate(rng, videos, options.categories, (0.0, shift), options.objects)
                weights = resamples_of_videos(videos, options.replicates, rng)
                first, second = (resampled_metrics(records, weights, ("AP",))["AP"] for records in methods)
                interval = bootstrap_intervals((second - first)[None], [videos])[0].pointwise
                found.append(((second - first)[0], *interval))
        summary = f"shifted: {_summary(shifted, truth)}; null: {_summary(null, 0.0)}"
        print(f"{options.sets} data sets of {videos} videos; {summary}", flush=True)


def _summary(intervals: list[tuple[float, ...]], truth: float) -> str:
    difference, low, high = np.array(intervals).T
    below, above = np.mean(low > truth), np.mean(high < truth)
    covered = 1 - below - above
    error = np.sqrt(covered * (1 - covered) / len(intervals))
    return (
        f"covered {covered:.4f} +- {error:.4f} (truth below {below:.4f}, above {above:.4f}), "
        f"excludes 0 in {np.mean((low > 0) | (high < 0)):.4f}, "
        f"mean difference {difference.mean():.4f}, deviation {difference.std():.4f}, width {np.mean(high - low):.4f}"
    )


def family(options: argparse.Namespace) -> None:
    """Print in how many data sets without any effect an interval of the family excludes 0."""
    rng = np.random.default_rng(options.seed)
    subsets = ["all", *map(str, range(len(CHALLENGES)))]
    for videos in options.videos:
        wrong = {"pointwise": 0, "simultaneous": 0}
        sizes = []
        for _ in range(options.sets):
            advantages = (0.0,) * (1 + FAMILY_METHODS)
            methods = simulate(rng, videos, options.categories, advantages, options.objects, CHALLENGES)
            weights = resamples_of_videos(videos, options.replicates, rng)
            values, counts = [], []  # of each method (measures, R), and of the last (measures,)
            for records in methods:
                values.append([])
                counts = []
                for subset in subsets:
                    kept_V, part = restrict_to_subset(records, subset)
                    if kept_V.sum() >= MIN_VIDEOS:
                        names = AP_METRICS if subset == "all" else ("AP",)
                        values[-1] += resampled_metrics(part, weights[:, kept_V], names).values()
                        counts += [int(kept_V.sum())] * len(names)
            differences = np.concatenate([np.subtract(other, values[0]) for other in values[1:]])
            sizes.append(len(differences))
            intervals = bootstrap_intervals(differences, counts * FAMILY_METHODS)
            for kind in wrong:
                wrong[kind] += any(getattr(both, kind).excludes_zero for both in intervals)
        rates = [f"{kind} {count / options.sets:.4f}" for kind, count in wrong.items()]
        error = np.sqrt(0.05 * 0.95 / options.sets)
        print(
            f"{options.sets} data sets of {videos} videos, {options.categories} categories, families of "
            f"{np.mean(sizes):.1f}: an interval excludes 0 in: {', '.join(rates)} (+- {error:.4f} at 0.05)",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--categories", type=int, default=5)
    parser.add_argument("--sets", type=int, default=1000)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--videos", type=int, nargs="+", default=[300])
    parser.add_argument("--objects", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--family", action="store_const", const=family, dest="run")
    options = parser.parse_args()
    (options.run or coverage)(options)


if __name__ == "__main__":
    main()
