"""Which runs the attention figures show and measure: chosen by rule, never by hand [ours]. Imports no torch."""

from __future__ import annotations

from mssts.config import ModelSection
from mssts.evaluation.records_file import MATCHES
from mssts.study.resolve import BASELINE
from mssts.study.runs import Benchmark, Result, StudyRuns


def select_variant(runs: StudyRuns) -> str | None:
    """The study's first variant with all contributions; else with MS-STS over the whole clip; else with own parts.

    Without any of these it is the first variant; None if the study has none but the baseline.
    """

    def rank(variant: str) -> int:
        config = runs.study.configs[variant]
        module = config.model.encoder.ms_sts
        if not module.enabled or module.own_frame_only:
            return int(_has_parts(config.model))
        return 3 if config.model.decoder.temporal.enabled and config.loss.foreground_background.enabled else 2

    return max((variant for variant in runs.study.variants if variant != BASELINE), key=rank, default=None)


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


def trained_results(runs: StudyRuns, benchmark: Benchmark) -> dict[str, list[Result]]:
    """Results with a checkpoint over the seeds of each variant, evaluated or not."""
    return {
        variant: [one for one in runs.select(*benchmark, variant) if (one.run.directory / "checkpoint.pt").is_file()]
        for variant in runs.study.variants
    }


def _complete(result: Result) -> bool:
    files = [
        result.run.directory / "checkpoint.pt",
        *(result.directory / name for name in (MATCHES, "predictions.json")),
    ]
    return result.metrics is not None and all(path.is_file() for path in files)
