# From ablations/studies/<study>.yaml to reports/table.pdf. Choose a study with `--config study=NAME`.
from snakemake.utils import min_version

min_version("9.0")


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        study_files.targets(STUDY),


onstart:
    if MISSING:
        atexit.unregister(print)
        raise WorkflowError(MISSING)
    # Once, before any job: concurrent first use of a new MLflow store would race. No file depends on it.
    if MLFLOW:
        shell("python -m mssts mlflow init --study $MSSTS_STUDY")
