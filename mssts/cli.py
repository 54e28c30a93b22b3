"""Command line: one subcommand per stage. It resolves the study and calls the stage's function.

Torch, MLflow, pandas and matplotlib are imported inside the subcommands, so that `mssts --help` answers at once. Bad
input ends with one `error: ...` on the standard error stream and exit code 2; a training that ends early has the codes
of `mssts.training.failures`.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

import mssts
from mssts.config import ABLATIONS, PRETRAIN, check_name, load_baseline
from mssts.core.errors import Failure, InputError, printable, shown, system_failure
from mssts.core.extras import named_extras
from mssts.core.files import check_outputs, read_record
from mssts.study.overrides import OPTION, read_overrides, values_of_section
from mssts.study.paths import RESULTS, TABLE_PDF, report_dir, run_dir
from mssts.study.resolve import PAPER, WITHOUT_STUDY, ResolvedStudy, load_study, single_run
from mssts.study.runs import StudyRuns, read_runs
from mssts.study.workflow import initial_checkpoint
from mssts.training.record import TrainingRun

if TYPE_CHECKING:
    from types import FrameType

    from mssts.training.callbacks import Callback

INTERRUPTED = 130

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
mlflow_app = typer.Typer(help="Mirror the runs to MLflow.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(mlflow_app, name="mlflow")

STUDY_HELP = "Name of a file in ablations/studies, without .yaml."
Study = Annotated[str, typer.Option(help=STUDY_HELP)]
StudyOrNot = Annotated[str | None, typer.Option(help=f"{STUDY_HELP} Without: one run at a scale.")]
Scale = Annotated[str | None, typer.Option(help=f"Without a study: a file in ablations/scales; default: {PAPER}.")]
StudyArgument = Annotated[str, typer.Argument(metavar="STUDY", help=STUDY_HELP)]
Set = Annotated[
    list[str] | None,
    typer.Option(
        OPTION,
        metavar="KEY=VALUE",
        envvar="MSSTS_SET",
        help="A value in place of that of the study and its scale, e.g. train.steps=10; may be repeated.",
    ),
]
Dataset = Annotated[str, typer.Option(help="Name of the dataset.")]
Backbone = Annotated[str, typer.Option(help="Name of the backbone.")]
Seed = Annotated[int, typer.Option(min=1, max=2**32 - 1, help="Seed of the run, from 1.")]
Data = Annotated[Path, typer.Option(help="Directory of the dataset.")]
DataOrDefault = Annotated[Path | None, typer.Option(help="Directory of the dataset; default: that in data/.")]
RunOrDefault = Annotated[Path | None, typer.Option(help="Directory to write; default: that of the run in results/.")]
Split = Annotated[str, typer.Option(help="Name of the split, e.g. valid.")]
Output = Annotated[Path, typer.Option(help="File or directory to write.")]
Again = Annotated[bool, typer.Option("--again", help="Train a finished run once more, and replace its files.")]
Checkpoint = Annotated[Path, typer.Option(help="File checkpoint.pt of a run, or an imported checkpoint.")]
Every = Annotated[int, typer.Option(min=1, help="Keep every n-th frame.")]
ClassHead = Annotated[str, typer.Option(help="keep, drop, or a dataset: one logit per category, matched by name.")]


@contextmanager
def _imports() -> Iterator[None]:
    """Imports of torch or MLflow: the garbage collector would take a quarter of their time, and find nothing."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # else the first collection, at once, goes through all that was imported
        gc.enable()


def _given(context: typer.Context, *options: str) -> list[str]:
    """Those of the options that are on the command line."""
    sources = {name: context.get_parameter_source(name.strip("-").replace("-", "_")) for name in options}
    return [name for name, source in sources.items() if source and source.name == "COMMANDLINE"]


def _show_version(asked: bool) -> None:
    if asked:
        print(f"mssts {mssts.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version, and exit.")
    ] = False,
) -> None:
    """Train, measure and compare the variants of MS-STS video instance segmentation."""


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="A new folder.")]) -> None:
    """Write a workspace: workflow, configurations and report templates, to run studies in any folder."""
    from mssts.study.workspace import write_workspace

    write_workspace(folder)
    print(printable(f"{folder}: written. Run a study there: snakemake --cores all --config study=demo"))


@app.command()
def generate(study: Study, dataset: Dataset, output: Output, set_: Set = None) -> None:
    """Generate a synthetic dataset (SynthVIS) at the study's scale."""
    from mssts.data.synthvis import generate as synthvis

    synthvis.generate(_load(study, set_).baseline.data.synthetic, dataset, output)


@app.command()
def prepare(
    dataset: Dataset,
    data: Data,
    decode: Annotated[bool, typer.Option("--decode", help="Decode every image, not only its header: slow.")] = False,
) -> None:
    """Check your own dataset (or coco), and write its fingerprint and, for videos, the local split."""
    from mssts.data import prepare as stage
    from mssts.data.coco import DIRECTORY as COCO_DIRECTORY
    from mssts.data.datasets import STILLS
    from mssts.ytvis.splits import VIDEOS_PER_SIDE

    if dataset == COCO_DIRECTORY:
        coco = stage.prepare_coco(data, decode)
        images = coco["splits"][STILLS]
        found = f"{images['videos']:,} images, {images['images_with_objects'][COCO_DIRECTORY]:,} of them with an object"
        print(f"{data}: {found} (fingerprint {coco['fingerprint']}).")
        return
    record = stage.prepare(dataset, data, decode)
    videos = f"{len(record['train'])} training and {len(record['valid'])} held-out videos"
    print(f"{data}: local split with {videos} (digest {record['digest'][:12]}).")
    absent = [name for name, found in record["exceptions"].items() if not any(found.values())]
    if absent:
        print(f"note: no video has an object of these categories: {printable(', '.join(absent))}")
    for name, found in record["exceptions"].items():
        if name in absent:
            continue
        where = f"in one part of the local split (train {found['train']}, valid {found['valid']})"
        print(f"warning: category {printable(name)}: fewer than {VIDEOS_PER_SIDE} videos {where}")


@app.command()
def convert(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="File or folder of the annotations.")],
    output: Output,
    read_as: Annotated[
        str, typer.Option("--from", help="coco-video, coco, palette, mots, labelme, cvat or youtube-vis.")
    ] = "youtube-vis",
    write_as: Annotated[str, typer.Option("--to", help="youtube-vis, coco-video or mots.")] = "youtube-vis",
    images: Annotated[Path | None, typer.Option(help="Folder of the frames, a folder in it for each video.")] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Submission whose objects are written, as MOTS, in place of the annotated ones.")
    ] = None,
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Of the predictions that are written.")] = 0.3,
) -> None:
    """Convert annotations of other tools to YouTube-VIS format, or YouTube-VIS to COCO-video or MOTS."""
    from mssts.ytvis.converters.formats import convert as stage

    if predictions is None and _given(context, "--min-score"):
        raise InputError("convert: found --min-score without --predictions; it chooses among predictions")
    videos, objects, notes = stage(source, read_as, output, write_as, images, predictions, min_score)
    for note, count in notes.items():
        print(printable(f"note: {source}: {note} ({'once' if count == 1 else f'{count} times'})"))
    print(printable(f"{output}: written. videos: {videos}, objects: {objects}."))


@app.command()
def pretrain(
    dataset: Dataset,
    backbone: Backbone,
    study: StudyOrNot = None,
    scale: Scale = None,
    seed: Seed = 1,
    data: DataOrDefault = None,
    output: RunOrDefault = None,
    again: Again = False,
    set_: Set = None,
) -> None:
    """Train the baseline on still images, generated ones or COCO's: the checkpoint that all variants start from."""
    with _imports():
        from mssts.training import run as stage

    resolved = _study_or_single_run(study, scale, dataset, backbone, PRETRAIN, seed, set_)
    run = resolved.pretraining(dataset, backbone, seed)
    stage.train(run, data or resolved.data_dir(dataset), output or _directory(run), None, _callbacks(resolved), again)


@app.command()
def train(
    dataset: Dataset,
    backbone: Backbone,
    variant: Annotated[str, typer.Option(help="Name of a variant, of the study if one is given.")],
    study: StudyOrNot = None,
    scale: Scale = None,
    seed: Seed = 1,
    data: DataOrDefault = None,
    output: RunOrDefault = None,
    init: Annotated[Path | None, typer.Option(help="Checkpoint to start from; default: as train.init.")] = None,
    again: Again = False,
    set_: Set = None,
) -> None:
    """Train one variant on videos, of a study or alone."""
    with _imports():
        from mssts.study.validation import validation
        from mssts.training import run as stage

    resolved = _study_or_single_run(study, scale, dataset, backbone, variant, seed, set_)
    run = resolved.training(dataset, backbone, variant, seed)
    init = init or next(iter(initial_checkpoint(resolved, dataset, backbone, variant, seed)), None)
    data = data or resolved.data_dir(dataset)
    callbacks = [*_callbacks(resolved), *validation(resolved, run, data)]
    stage.train(run, data, output or _directory(run), init, callbacks, again)


def _directory(run: TrainingRun) -> Path:
    return run_dir(run.scale, run.dataset, run.backbone, run.variant, run.seed)


def _load(study: str, words: list[str] | None) -> ResolvedStudy:
    return load_study(study, overrides=read_overrides(words or []))


def _study_or_single_run(
    study: str | None, scale: str | None, dataset: str, backbone: str, variant: str, seed: int, words: list[str] | None
) -> ResolvedStudy:
    if study is None:
        return single_run(dataset, backbone, variant, scale or PAPER, seed, overrides=read_overrides(words or []))
    if scale is not None:
        raise InputError(f"--scale: found {shown(scale)}, and --study {study}, which has a scale; expected one of them")
    return _load(study, words)


def _mlflow_is_on() -> bool:
    value = os.environ.get("MSSTS_MLFLOW", "on")
    if value not in ("on", "off"):
        raise InputError(f"MSSTS_MLFLOW: found {shown(value)}; expected on or off")
    return value == "on"


def _callbacks(study: ResolvedStudy) -> list[Callback]:
    if study.name == WITHOUT_STUDY or not _mlflow_is_on():  # an experiment of MLflow is a study
        return []
    with _imports():
        from mssts.study.mlflow_mirror import TrainingMirror

    return [TrainingMirror(study.name)]


@app.command("extract-frames")
def extract_frames(
    videos: Annotated[list[Path], typer.Argument(help="Video files.")],
    output: Annotated[Path, typer.Option(help="Folder that receives a folder of JPEG files for each video.")],
    every: Every = 1,
) -> None:
    """Write the frames of video files as images, to annotate them and to train on them."""
    from mssts.data.video_files import extract_frames as stage

    for video in videos:
        print(printable(f"{output / video.stem}: {stage(video, output, every)} frames."))


@app.command()
def predict(
    context: typer.Context,
    checkpoint: Checkpoint,
    output: Output,
    source: Annotated[
        list[Path] | None, typer.Argument(help="A video file, a folder of images, or images; instead of a dataset.")
    ] = None,
    study: Annotated[str | None, typer.Option(help=STUDY_HELP)] = None,
    data: Annotated[Path | None, typer.Option(help="Directory of the dataset.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Name of the dataset.")] = None,
    split: Annotated[str | None, typer.Option(help="Name of the split, e.g. valid.")] = None,
    every: Every = 1,
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Of the tracks of a source that are drawn.")] = 0.3,
    device: Annotated[str, typer.Option(help="For a source: cpu, cuda or cuda:1.")] = "cpu",
    set_: Set = None,
) -> None:
    """Predict a video, with pictures, or every video of a dataset's split, as a submission: JSON, zip and boxes."""
    options = {"--study": study, "--data": data, "--dataset": dataset, "--split": split}
    if source:
        if given := _given(context, *options):
            raise InputError(f"predict: found a source and {', '.join(given)}; expected one or the other")
        with _imports():
            from mssts.inference.predict_file import predict_file
            from mssts.inference.predictor import Predictor

        settings = values_of_section("predict", read_overrides(set_ or []))
        drawn = predict_file(Predictor(checkpoint, device, settings), source, output, every, min_score)
        print(printable(f"{output}: written. overlay.mp4 shows {len(drawn)} objects of score {min_score} or more."))
        return
    resolved = None if study is None else _load(study, set_)
    if resolved is None or data is None or dataset is None or split is None:
        missing = [name for name, value in options.items() if value is None]
        raise InputError(f"predict: missing {', '.join(missing)}; or name a video file or a folder of images")
    if given := _given(context, "--every", "--min-score", "--device"):
        raise InputError(f"predict: found a dataset and {', '.join(given)}, which is for a video or a folder of images")
    with _imports():
        from mssts.inference import predict as stage

    check_outputs([output], [ABLATIONS])
    stage.predict(resolved.baseline, checkpoint, data, dataset, split, output)


@app.command()
def show(
    dataset: Dataset,
    data: Data,
    split: Split,
    output: Annotated[Path, typer.Option(help="New folder to write to.")],
    predictions: Annotated[list[Path] | None, typer.Option(help="Submission to show; may be repeated.")] = None,
    video: Annotated[list[int] | None, typer.Option(help="Id of a video to show; may be repeated.")] = None,
    worst: Annotated[int, typer.Option(min=0, help="Show so many videos with the smallest share found.")] = 0,
    best: Annotated[int, typer.Option(min=0, help="Show so many videos with the largest share found.")] = 0,
    differ: Annotated[int, typer.Option(min=0, help="Show so many videos where two submissions differ most.")] = 0,
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Of the predictions that are drawn.")] = 0.3,
) -> None:
    """Draw ground truth, and predictions below it, as strips of frames and videos."""
    from mssts.data.datasets import split_annotations
    from mssts.study import show as stage

    found = split_annotations(dataset, data, split)
    results = [stage.read_result(path, found.annotations) for path in predictions or []]
    rules: list[tuple[stage.Rule, int]] = [("worst", worst), ("best", best), ("differ", differ)]
    asked = [key for rule, count in rules if count for key in stage.choose(results, rule, count)]
    videos = [*(video or []), *asked] or list(found.annotations.videos)[: stage.SHOWN_BY_DEFAULT]
    for line in stage.show(found, results, list(dict.fromkeys(videos)), output, min_score):
        print(printable(line))


@app.command("import-weights")
def import_weights(
    file: Annotated[Path, typer.Argument(help="Public SeqFormer checkpoint (.pth with an entry `model`).")],
    output: Output,
    class_head: ClassHead = "keep",
    dataset: Annotated[str, typer.Option(help="Dataset whose category ids index the public logits.")] = "ytvis2019",
) -> None:
    """Convert a public SeqFormer checkpoint. Every entry is either used or reported as dropped."""
    with _imports():
        from mssts.inference import import_weights as stage

    check_outputs([output], [ABLATIONS])
    dropped = stage.import_weights(file, output, class_head, dataset)
    for name in dropped:
        print(f"dropped: {printable(name)}")
    print(f"{output}: written. {len(dropped)} entries of the public checkpoint are not used (listed above).")


@app.command("server-scores")
def server_scores(study: Study, set_: Set = None) -> None:
    """Print the official scores that were entered by hand in server_scores.yaml."""
    from mssts.report.tables.server_scores import score_table
    from mssts.study import server_scores as stage

    name = _load(study, set_).name
    scores = [score for score in stage.read_server_scores() if score.study == name]
    if scores:
        print(score_table(scores).markdown(), end="")
    else:
        print(f"No score has been entered for study {name} in {stage.FILE}.")


@app.command()
def plan(study: StudyArgument, set_: Set = None) -> None:
    """Estimate the cost of a study: jobs, parameters, FLOPs, GPU memory and GPU hours, with the assumptions."""
    resolved = _load(study, set_)
    with _imports():
        from mssts.study import plan as stage

    print(stage.plan(resolved, load_baseline()))


@app.command("check-submission")
def check_submission(
    file: Annotated[Path, typer.Argument(help="Submission of any method: JSON, or a zip with results.json.")],
    data: Data,
    dataset: Annotated[str | None, typer.Option(help="Name of the dataset; default: that of its directory.")] = None,
    split: Split = "valid",
) -> None:
    """Check a submission against every rule of the YouTube-VIS format."""
    from mssts.data.datasets import entry, expected_categories
    from mssts.data.fingerprints import verify_annotations
    from mssts.ytvis import submission as stage
    from mssts.ytvis.annotations import read_annotations

    name = dataset or data.resolve().name
    path, _ = entry(name).files(data, split, need_images=False)
    verify_annotations(path)
    annotations = read_annotations(path, truth="absent", expected=expected_categories(name))
    problems, notes = stage.check_submission(file, annotations)
    for note in notes:
        print(f"note: {printable(note)}")
    if problems:
        raise InputError("\n  ".join([f"{file}: {len(problems)} problem(s):", *problems]))
    print("\n  ".join([f"{file}: ready to submit; {len(stage.RULES)} rules checked:", *stage.RULES]))


@app.command()
def evaluate(
    annotations: Annotated[Path, typer.Option(help="Ground truth in YouTube-VIS format.")],
    predictions: Annotated[Path, typer.Option(help="Submission of any method: results.json, or a zip with it.")],
    output: Output,
    split: Annotated[str | None, typer.Option(help="Name of the split, for the record.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Dataset whose categories the ground truth must have.")] = None,
    study: Annotated[str | None, typer.Option(help="Study whose evaluation section goes into the record.")] = None,
    run: Annotated[Path | None, typer.Option(help="run.json of the run that made the predictions.")] = None,
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Accept what the reference evaluator silently accepts; count each case.")
    ] = False,
    per_class: Annotated[bool, typer.Option("--per-class", help="Also print a table of the categories.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the content of the output instead of tables.")] = False,
    set_: Set = None,
) -> None:
    """Evaluate a submission: AP, AR and AP per challenge. Writes metrics.json, and match records beside it."""
    from mssts.evaluation import evaluate as stage
    from mssts.evaluation.summary import summary

    if split is not None:
        check_name(split, "--split")
    check_outputs([output], [run, ABLATIONS])
    record = read_record(run) if run else None
    resolved = None if study is None else _load(study, set_)
    config = resolved.baseline.evaluation if resolved else None
    metrics = stage.evaluate(annotations, predictions, output, record, split, config, lenient, dataset)
    for warning in metrics["warnings"]:
        where = f"{warning['count']} times, first at {warning['first']}"
        print(printable(f"warning: {warning['file']}: {warning['what']} ({where})"), file=sys.stderr)
    print(json.dumps(metrics) if as_json else f"{summary(metrics, per_class)}\n\n{printable(str(output))}: written.")
    if run and resolved and _mlflow_is_on():
        with _imports():
            from mssts.study.mlflow_mirror import deliver_evaluation

        deliver_evaluation(resolved.name, run.parent, output, predictions)


@app.command()
def complexity(study: Study, set_: Set = None) -> None:
    """Write the parameters of the study's models and the FLOPs of a clip."""
    resolved = _load(study, set_)
    with _imports():
        from mssts.study import complexity as stage
        from mssts.study.complexity_file import FILE

    output = report_dir(resolved.name) / FILE
    check_outputs([output])
    stage.write_complexity(resolved, output)


def _runs_for(step: str, study: str, words: list[str] | None) -> StudyRuns:
    """The runs of a study, after a check of the files that a step of its report will write."""
    from mssts.report.registry import files_of_step

    runs = read_runs(_load(study, words))
    check_outputs(runs.folder / name for name in files_of_step(step))
    return runs


@app.command()
def tables(study: Study, set_: Set = None) -> None:
    """Write the study's tables as CSV, Markdown and LaTeX."""
    from mssts.report.tables import write_tables

    write_tables(_runs_for("tables", study, set_))


@app.command()
def figures(study: Study, set_: Set = None) -> None:
    """Draw the study's figures; the tables must have been written."""
    runs = _runs_for("figures", study, set_)
    with _imports():
        from mssts.report.figures import write_figures

    write_figures(runs)


@app.command()
def attention(
    study: Study,
    not_drawn: Annotated[str | None, typer.Option(help="Draw nothing: write this reason in place of the maps.")] = None,
    set_: Set = None,
) -> None:
    """Draw the study's attention maps, baseline against MS-STS, and measure how well they show the instances."""
    runs = _runs_for("attention", study, set_)
    with _imports():
        from mssts.report.attention import write_attention
        from mssts.report.not_drawn import NotDrawn, attempt
        from mssts.study.attention_measure import measure_auroc
        from mssts.study.attention_panels import compare_attention

    if not_drawn is not None:
        reason = NotDrawn(printable(" ".join(not_drawn.split())))
        print(f"warning: attention maps: {reason}", file=sys.stderr)
        write_attention(reason, reason, runs.folder)
        return
    comparison = attempt("attention maps", lambda: compare_attention(runs))
    aurocs = attempt("AUROC of the encoder maps", lambda: measure_auroc(runs))
    write_attention(comparison, aurocs, runs.folder)


@app.command()
def document(study: Study, output: Output, set_: Set = None) -> None:
    """Typeset the study's report as one PDF; the tables must have been written."""
    from mssts.report.document import TEMPLATE, write_document
    from mssts.report.registry import CONTENTS

    runs = read_runs(_load(study, set_))
    parts = [runs.folder / name for entry in CONTENTS for name in entry.files]
    check_outputs([output], [ABLATIONS, RESULTS, TEMPLATE, *parts])
    write_document(runs, output)
    if _mlflow_is_on():
        with _imports():
            from mssts.study.mlflow_mirror import deliver_report

        deliver_report(runs.study, output)


@app.command()
def html(study: Study, set_: Set = None) -> None:
    """Write the study's report as pages for a browser; tables, figures and attention maps must have been written."""
    runs = read_runs(_load(study, set_))
    with _imports():
        from mssts.report.html import write_html

    write_html(runs)


@app.command("stop-trainings")
def stop_trainings() -> None:
    """Ask the trainings that are still running on this machine, for example after a crash, to save and stop."""
    from mssts.training.run_lock import stop_owners

    print(f"stopped {stop_owners(RESULTS)} running trainings; their logs say what each has saved")


@mlflow_app.command("init")
def mlflow_init(study: Study, set_: Set = None) -> None:
    """Create the local store, the study's experiment and its saved view; safe to repeat."""
    resolved = _load(study, set_)
    if _mlflow_is_on():
        with _imports():
            from mssts.study.mlflow_mirror import initialise

        initialise(resolved)


@mlflow_app.command("sync")
def mlflow_sync(study: Study, set_: Set = None) -> None:
    """Send to MLflow what is missing from a study's finished runs and report, read from files. Safe to repeat."""
    with _imports():
        from mssts.report.document import write_document
        from mssts.study.mlflow_content import finished_runs, report_content
        from mssts.study.mlflow_mirror import sync

    resolved = _load(study, set_)
    name, runs = resolved.name, finished_runs(resolved)
    sync(name, runs)
    print(f"MLflow has all {len(runs)} finished runs of study {name}")
    if (report_dir(name) / "table.csv").is_file():
        with TemporaryDirectory() as folder:
            document = Path(folder) / TABLE_PDF.name  # typeset again: reports/table.pdf may be that of another study
            write_document(read_runs(resolved), document)
            sync(name, [lambda: report_content(name, document)])
        print(f"MLflow has the report of study {name}")


def _exit(error: InputError | Failure) -> NoReturn:
    print(f"error: {printable(str(error))}", file=sys.stderr)
    sys.exit(error.exit_code)


def main() -> None:
    """Run the command line: one message, and exit code 2 for bad input or that of the failure; 130 when interrupted."""
    interrupted = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        interrupted.append(number)
        signal.default_int_handler(number, frame)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a job in the background ignores interrupts
        signal.signal(signal.SIGINT, interrupt)
    try:
        _run()
    except BaseException:  # compiled code may turn the interrupt into an error of its own, e.g. while it is imported
        if not interrupted:
            raise
        print("interrupted", file=sys.stderr, flush=True)
        os._exit(INTERRUPTED)  # Python itself may end by the signal where compiled code was interrupted


def _run() -> None:
    try:
        _mlflow_is_on()  # a wrong value ends no finished job
        with named_extras():
            app(prog_name="mssts")
    except (InputError, Failure) as error:
        _exit(error)
    except OSError as error:
        _exit(system_failure(error))
