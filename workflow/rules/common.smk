# What all rules share: the chosen study, its paths, and the config sections that a rule reads. Imports no torch.
import atexit
import shlex
import signal
import sys
from functools import cache
from glob import glob
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(workflow.basedir))  # the clone's own package, installed or not

from mssts import config as configuration
from mssts.study import paths
from mssts.data.coco import COCO
from mssts.data.coco import DIRECTORY as COCO_DIRECTORY
from mssts.data.coco import uses_coco
from mssts.data.datasets import LOCAL, STILLS, entry, is_generated
from mssts.study.matrix import is_measured, pretrain_seeds, run_keys
from mssts.core.errors import InputError

CONDA = "../../environment.yml"  # only used with --software-deployment-method conda
STUDY_NAME = config.get("study", "demo")
TRACKING = str(config.get("tracking", "on")).lower() not in ("off", "false")


def load_study():
    """The chosen study, with its splits and what it names checked."""
    study = configuration.load_study(STUDY_NAME)
    for dataset in study.datasets:
        for split in ("train", *study.splits, *study.submissions):
            if split not in entry(dataset).splits:
                known = ", ".join(entry(dataset).splits)
                raise InputError(f"study {STUDY_NAME}: splits: {dataset} has no {split!r}; it has {known}")
    missing = []
    init = configuration.resolve(study.scale).train.init
    if init != configuration.PRETRAIN and not Path(init).is_file():
        missing.append(
            f"train.init: {init}: no such checkpoint. Make it with `mssts import-weights`, or write "
            f"{configuration.PRETRAIN}: our own stage, on COCO where the videos are your own."
        )
    for title, path in study.foreign.items():
        if not Path(path).is_file():
            missing.append(f"study {STUDY_NAME}: foreign: {title}: {path}: no such file; put the results.json there")
    if missing:
        raise InputError("\n".join(missing))
    return study


def missing_files():
    """What the user has to bring before anything can run, in words."""
    own = [dataset for dataset in STUDY.datasets if not is_generated(dataset)]
    files = [(entry(dataset), data_of(dataset), split) for dataset in own for split in ("train", "valid")]
    stages = [configuration.TRAIN]
    if pretrain_seeds(STUDY, BASELINE):
        stages.append(configuration.PRETRAIN)
    if any(uses_coco(dataset, BASELINE, stage) for dataset in own for stage in stages):
        files.append((COCO, paths.DATA / COCO_DIRECTORY, STILLS))
    messages = []
    for dataset, directory, split in files:
        try:
            dataset.files(directory, split)
        except InputError as error:
            messages.append(str(error))
    return "\n".join(messages)


def data_of(dataset):
    """Directory of a dataset."""
    return paths.dataset_dir(STUDY.scale, dataset)


try:
    STUDY = load_study()
    CONFIGS = {variant: configuration.resolve(STUDY.scale, variant) for variant in {"baseline", *STUDY.variants}}
    VARIANTS = {variant: configuration.load_variant(variant) for variant in STUDY.variants}
except InputError as error:
    raise WorkflowError(str(error)) from None

BASELINE = CONFIGS["baseline"]
# A dry run lists the jobs all the same and ends with this message; a run stops with it before any job (onstart).
MISSING = missing_files()
if MISSING:
    atexit.register(print, f"Missing, and needed before the study can run:\n{MISSING}", file=sys.stderr)
THREADS = BASELINE.runtime.threads
GENERATED = paths.generated_dir(STUDY.scale, "{dataset}")
PRETRAIN = paths.pretrain_dir(STUDY.scale, "{dataset}", "{backbone}", "{seed}")
RUN = paths.run_dir(STUDY.scale, "{dataset}", "{backbone}", "{variant}", "{seed}")
SPLIT = paths.split_dir(RUN, "{split}")
FOREIGN = paths.foreign_dir(STUDY.scale, "{dataset}", "{method}", "{split}")
FOREIGN_RESULTS = {configuration.foreign_name(title): path for title, path in STUDY.foreign.items()}
REPORT = paths.report_dir(STUDY_NAME)
LOGS = f"logs/{STUDY.scale}/{{dataset}}/{{backbone}}"

# Threads come from the config, never from --cores: the same study gives the same bytes on any machine.
# The python is the one that runs snakemake, also where its environment is not activated.
ENVIRONMENT = {
    "OMP_NUM_THREADS": THREADS,
    "MKL_NUM_THREADS": THREADS,
    "OPENBLAS_NUM_THREADS": THREADS,
    "PYTHONHASHSEED": 0,
    "MSSTS_STUDY": STUDY_NAME,
    "MSSTS_MLFLOW": "on" if TRACKING else "off",
}
# A scheduler that stops a job signals every process of it, and kills the rest when the first of them is gone: this
# snakemake, the shell and tee wait for the training, which saves itself. Here and not in the rules, because a changed
# command runs finished trainings again.
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
WAIT_FOR_THE_STAGE = "trap : TERM; tee() {{ trap '' TERM; exec tee \"$@\"; }}; "
shell.prefix(
    f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH "
    + " ".join(f"{name}={value}" for name, value in ENVIRONMENT.items())
    + f"; {WAIT_FOR_THE_STAGE}"
)


wildcard_constraints:
    dataset="[a-z0-9_-]+",
    backbone="[a-z0-9_-]+",
    variant="[a-z0-9_-]+",
    split="[a-z0-9_-]+",
    seed="[0-9]+",


def section(*names):
    """Canonical text of config sections of the job's own variant: a change re-runs the job."""

    def reads(wildcards):
        variant = getattr(wildcards, "variant", "baseline")
        return configuration.canonical(CONFIGS.get(variant, BASELINE), names)

    return reads


def data_dir(wildcards):
    """Directory of the job's dataset."""
    return data_of(wildcards.dataset)


def data_state(wildcards):
    """The file that changes whenever the job's dataset changes."""
    return data_dir(wildcards) / "fingerprint.json"


def coco_state(stage):
    """The file that changes whenever COCO changes, for jobs of a stage that draw from it."""

    def state(wildcards):
        resolved = CONFIGS.get(getattr(wildcards, "variant", "baseline"), BASELINE)
        path = paths.DATA / COCO_DIRECTORY / "fingerprint.json"
        return [path] if uses_coco(wildcards.dataset, resolved, stage) else []

    return state


def own_annotations(wildcards):
    """Annotation files that the user has brought, of a dataset of his own."""
    found = [entry(wildcards.dataset).paths(data_dir(wildcards), split)[0] for split in ("train", "valid")]
    return [path for path in found if path.exists()]


def coco_annotations(wildcards):
    """COCO's annotation file, if the user has brought it."""
    return [path for path in COCO.paths(paths.DATA / COCO_DIRECTORY, STILLS)[:1] if path.exists()]


def annotations(wildcards):
    """Annotation file of the job's dataset and split."""
    return entry(wildcards.dataset).paths(data_dir(wildcards), wildcards.split)[0]


def initial_checkpoint(wildcards):
    """The checkpoint that the job starts from: of its seed's own pre-training, or the one that the recipe names."""
    if CONFIGS[wildcards.variant].train.init != configuration.PRETRAIN:
        return CONFIGS[wildcards.variant].train.init
    seed = configuration.pretrain_seed(CONFIGS[wildcards.variant], int(wildcards.seed))
    return paths.pretrain_dir(STUDY.scale, wildcards.dataset, wildcards.backbone, seed) / "checkpoint.pt"


@cache
def run_dirs():
    """Every run of the study, pre-training included."""
    return [paths.run_dir(STUDY.scale, *key) for key in run_keys(STUDY, BASELINE)]


def of_runs(name):
    """A file of every run of the study."""
    return [run / name for run in run_dirs()]


def of_splits(name):
    """A file of every run and split of the study."""
    return [paths.split_dir(run, split) / name for run in measured_dirs() for split in STUDY.splits]


def of_submissions(name):
    """A file of every run and split of the study that is predicted for a server."""
    return [paths.split_dir(run, split) / name for run in measured_dirs() for split in STUDY.submissions]


def measured_dirs():
    """Every run that can be measured."""
    keys = run_keys(STUDY, BASELINE)
    return [run for run, (dataset, _, variant, _) in zip(run_dirs(), keys) if is_measured(dataset, variant)]


def of_foreign(name):
    """A file of every foreign method of the study, on the first dataset and split."""
    return [paths.foreign_dir(STUDY.scale, STUDY.datasets[0], title, STUDY.splits[0]) / name for title in STUDY.foreign]


def modules(*patterns):
    """Source files whose change must re-run a job."""
    return sorted(path for pattern in patterns for path in glob(pattern, recursive=True))


def report_content():
    """Everything that a report shows beside the results: the study's matrix and the variants' titles."""
    records = [STUDY, *VARIANTS.values()]
    return "\n".join([STUDY_NAME, *(configuration.canonical(record) for record in records)])


def complexity_content():
    """Everything that the models' parameters and FLOPs depend on, beside the code."""
    sizes = [BASELINE.data.synthetic.height, BASELINE.data.synthetic.width, BASELINE.predict.short_side]
    models = [
        (name, CONFIGS[name].train.frames, configuration.canonical(CONFIGS[name], ("model",))) for name in VARIANTS
    ]
    return str([STUDY.datasets, STUDY.backbones, sizes, models])
