"""Time of 10,000 paired bootstrap replicates on 302 videos of ten detections each.

python benchmarks/bootstrap.py [--other DIRECTORY] [--rounds 5]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import rounds

VIDEOS, CATEGORIES, REPLICATES = 302, 5, 10_000


def serve() -> rounds.Answers:
    """Answer with the time of the intervals of some metrics."""
    from statistics_coverage import SHIFT, simulate

    from mssts.evaluation.statistics import bootstrap_intervals, resampled_metrics, resamples_of_videos

    methods = simulate(np.random.default_rng(1), VIDEOS, CATEGORIES, (0.0, SHIFT), false_per_video=7.5)

    def intervals(metrics: tuple[str, ...]) -> None:
        weights = resamples_of_videos(VIDEOS, REPLICATES, np.random.default_rng(2))
        first, second = (resampled_metrics(records, weights, metrics) for records in methods)
        bootstrap_intervals(np.stack([second[name] - first[name] for name in metrics]), [VIDEOS] * len(metrics))

    meter = rounds.Meter()
    return meter, lambda metrics: meter(intervals, tuple(metrics))[1]


def measure(options: argparse.Namespace) -> Iterator[rounds.Row]:
    """Rows of AP alone and of all AP metrics."""
    from mssts.evaluation.average_precision import AP_METRICS

    names = ["this", "other"] if options.other else ["this"]
    with rounds.contenders(__file__, {name: {} for name in names}, options.other) as started:
        for metrics in (("AP",), AP_METRICS):
            case = f"{REPLICATES:,} replicates of {', '.join(metrics)}"
            yield from rounds.compare("bootstrap", case, started, options.rounds, memory=False, metrics=metrics)[0]


if __name__ == "__main__":
    rounds.run(argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]), measure, serve)
