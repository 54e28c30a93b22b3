# What all rules share: the resolved study, its paths, and functions of a job's wildcards. Imports no torch.
import atexit
import os
import shlex
import signal
import sys
from glob import glob
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(workflow.basedir))  # in a clone its own package, installed or not

from mssts.config import PRETRAIN, STAGE_SECTIONS, TRAIN, canonical
from mssts.core.errors import InputError
from mssts.core.workspace import PACKAGE
from mssts.data.coco import COCO
from mssts.data.coco import DIRECTORY as COCO_DIRECTORY
from mssts.data.datasets import LOCAL, STILLS, entry
from mssts.report.registry import files_of_step
from mssts.study import paths, resources
from mssts.study import workflow as study_files
from mssts.study.overrides import as_words
from mssts.study.workflow import COCO_FINGERPRINT

CONDA = "../../environment.yml"  # for the record: a rule runs in the environment of this snakemake, conda's or another

try:
    OPTIONS = study_files.read_options(config)
    STUDY = study_files.read_study(OPTIONS)
    study_files.check_inputs(STUDY)
except InputError as error:
    raise WorkflowError(str(error)) from None

# A dry run lists the jobs all the same and ends with this message; a run stops with it before any job (onstart).
MISSING = study_files.missing_data(STUDY)
if MISSING:
    atexit.register(print, f"Missing, and needed before the study can run:\n{MISSING}", file=sys.stderr)
MLFLOW = OPTIONS.mlflow in ("on", True)
SPEC, BASELINE = STUDY.spec, STUDY.baseline
THREADS = BASELINE.runtime.threads
GENERATED_DIR = paths.generated_dir(STUDY.data_folder, "{dataset}")
PRETRAIN_DIR = paths.run_dir("{folder}", "{dataset}", "{backbone}", PRETRAIN, "{seed}")
RUN_DIR = paths.run_dir("{folder}", "{dataset}", "{backbone}", "{variant}", "{seed}")
SPLIT_DIR = RUN_DIR / "{split}"
EXTERNAL_DIR = paths.external_dir(STUDY.folder, "{dataset}", "{method}", "{split}")
EXTERNAL_RESULTS = {paths.external_name(title): path for title, path in SPEC.external.items()}
REPORT = paths.report_dir(STUDY.name)
REPORT_CONTENT = study_files.report_content(STUDY)
LOGS = "logs/{folder}/{dataset}/{backbone}"

# Threads come from the config, never from --cores: the same study gives the same bytes on any machine.
ENVIRONMENT = {
    "OMP_NUM_THREADS": THREADS,
    "MKL_NUM_THREADS": THREADS,
    "OPENBLAS_NUM_THREADS": THREADS,
    "PYTHONHASHSEED": 0,
    "MSSTS_STUDY": OPTIONS.study,
    "MSSTS_SET": " ".join(as_words(STUDY.given)),
    "MSSTS_MLFLOW": "on" if MLFLOW else "off",
}
# A scheduler that stops a job signals all its processes, and kills the rest when the first of them is gone. So this
# snakemake, the shell and tee wait for the training, which saves itself. This is here and not in the rules, because a
# changed command runs finished trainings again. Snakemake makes one brace of two.
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
WAIT_FOR_THE_STAGE = "trap : TERM; tee() {{ trap '' TERM; exec tee \"$@\"; }}; "
# A training that was asked to stop and has saved itself ends with code 75. Then the command in MSSTS_RESUBMIT, which
# the profile or the scheduler's lines may set, puts the job back into the queue. On Slurm it does not if somebody has
# cancelled the job.
if workflow.remote_exec and "SLURM_JOB_ID" in os.environ:
    os.environ.setdefault(
        "MSSTS_RESUBMIT",
        "case $(squeue --noheader --format=%T/%r --jobs=$SLURM_JOB_ID) in RUNNING/*|*/TimeLimit) "
        "scontrol requeue $SLURM_JOB_ID;; esac",
    )
SUBMIT_AGAIN = "trap 'if [ $? = 75 ]; then eval \"${{MSSTS_RESUBMIT-}}\"; fi' EXIT; "
# The python of the jobs is the one that runs snakemake, also where its environment is not activated.
shell.prefix(
    f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH "
    + " ".join(f"{name}={shlex.quote(str(value))}" for name, value in ENVIRONMENT.items())
    + f"; {WAIT_FOR_THE_STAGE}{SUBMIT_AGAIN}"
)


wildcard_constraints:
    folder="|".join(dict.fromkeys([STUDY.folder, *map(STUDY.pretrain_folder, [*SPEC.datasets, COCO_DIRECTORY])])),
    dataset="[a-z0-9_-]+",
    backbone="[a-z0-9_-]+",
    variant="[a-z0-9_-]+",
    split="[a-z0-9_-]+",
    seed="[0-9]+",


def variant_of(wildcards):
    """Variant of a job; pre-trainings have none of their own."""
    return getattr(wildcards, "variant", PRETRAIN)


def literal(text):
    """Text as the value of a parameter: Snakemake reads the braces of a plain one as wildcards."""
    return lambda wildcards: text


def config_of(wildcards):
    """Configuration of a job that trains, by its variant and backbone."""
    return STUDY.run_config(wildcards.dataset, wildcards.backbone, variant_of(wildcards))


def reads_stage(stage):
    """Canonical text of the config sections that a stage reads, of the job's own variant: a change re-runs the job."""
    return lambda wildcards: canonical(config_of(wildcards), STAGE_SECTIONS[stage])


def of_training(name):
    """A resource of a job that trains."""
    return lambda wildcards: getattr(resources.of_training(config_of(wildcards), wildcards.backbone), name)


def on_nodes(name):
    """A resource that only the trainings on several nodes have, or None."""
    return lambda wildcards: resources.on_nodes(config_of(wildcards)).get(name)


def of_inference(name):
    """A resource of a job that predicts, by its backbone and the longest video."""
    return lambda wildcards: getattr(inference(wildcards.dataset, wildcards.backbone), name)


def inference(dataset, backbone):
    """Resources of inference on all videos of a dataset."""
    directory, on_cpu = STUDY.data_dir(dataset), BASELINE.runtime.device == "cpu"
    # The longest video is read from the annotations at each start of snakemake, but not for a GPU: its memory cannot be
    # asked for.
    return resources.of_inference(BASELINE, backbone, study_files.longest_video(directory, dataset) if on_cpu else 0)


def data_dir(wildcards):
    """Directory of the job's dataset."""
    return STUDY.data_dir(wildcards.dataset)


def data_state(wildcards):
    """The file that changes whenever the job's dataset changes."""
    return data_dir(wildcards) / "fingerprint.json"


def coco_state(wildcards):
    """The file that changes whenever COCO changes, for trainings that read its images as well."""
    return study_files.coco_fingerprint(STUDY, wildcards.variant)


def own_annotations(wildcards):
    """Annotation files of a user's own dataset, as far as they exist."""
    found = [entry(wildcards.dataset).paths(data_dir(wildcards), split)[0] for split in entry(wildcards.dataset).given]
    return [path for path in found if path.exists()]


def dataset_definition(wildcards):
    """Text of all that the definition of the job's dataset says: a change prepares the dataset again."""
    return repr(entry(wildcards.dataset))


def coco_annotations(wildcards):
    """COCO's annotation file, if it exists."""
    return [path for path in COCO.paths(COCO_FINGERPRINT.parent, STILLS)[:1] if path.exists()]


def annotations(wildcards):
    """Annotation file of the job's dataset and split."""
    return entry(wildcards.dataset).paths(data_dir(wildcards), wildcards.split)[0]


def initial_checkpoint(wildcards):
    """The checkpoint that the job starts from; none for random weights and for those of ImageNet."""
    dataset, backbone, variant, seed = (getattr(wildcards, key) for key in ("dataset", "backbone", "variant", "seed"))
    return study_files.initial_checkpoint(STUDY, dataset, backbone, variant, int(seed))


def of_runs(name):
    """A file of every run of the study."""
    return study_files.files_of_runs(STUDY, name)


def of_splits(name):
    """A file of every run and split that is evaluated."""
    return study_files.files_of_splits(STUDY, SPEC.splits, name)


def of_report(step, category, caption):
    """Files of the report that a step writes; `snakemake --report` shows its tables (CSV) and figures (PNG)."""

    def flagged(path):
        shown = path.suffix in (".csv", ".png")
        return report(path, caption=caption, category=category, labels={"file": path.stem}) if shown else path

    return [flagged(REPORT / name) for name in files_of_step(step)]


def modules(*patterns):
    """Source files whose change re-runs a job: of this folder, or of the installed package."""

    def found(pattern):
        return glob(pattern, recursive=True) or glob(f"{PACKAGE.parent}/{pattern}", recursive=True)

    return sorted(path for pattern in patterns for path in found(pattern))
