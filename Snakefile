# From ablations/studies/<study>.yaml to reports/table.pdf. Choose a study with `--config study=NAME`.
from snakemake.utils import min_version

min_version("9.0")


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        [paths.TABLE_PDF] if SPEC.splits else [],
        study_files.files_of_splits(STUDY, SPEC.submissions, "predictions.zip"),


# Once, before any job: concurrent first use of a new MLflow store would race. No file depends on it.
onstart:
    if MISSING:
        atexit.unregister(print)
        raise WorkflowError(MISSING)
    if MLFLOW:
        shell("python -m mssts mlflow init --study $MSSTS_STUDY")
