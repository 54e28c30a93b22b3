"""Command line: one subcommand per stage, each a thin call of the stage's function.

Nothing heavy is imported before a stage runs, so that `mssts --help` answers at once. Bad input ends with one
`error: ...` on the standard error stream and exit code 2; a training that ends early has the codes of
`mssts.failures`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mssts.core.errors import InputError
from mssts.training.failures import RunFailure

INTERRUPTED = 130

app = typer.Typer(
    help="Train, measure and compare the variants of MS-STS video instance segmentation.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
tracking_app = typer.Typer(help="The local MLflow store.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(tracking_app, name="tracking")

Study = Annotated[str, typer.Option(help="Name of a file in ablations/studies, without .yaml.")]
Dataset = Annotated[str, typer.Option(help="Name of the dataset.")]
Backbone = Annotated[str, typer.Option(help="Name of the backbone.")]
Seed = Annotated[int, typer.Option(min=1, help="Seed of the run, from 1.")]
Data = Annotated[Path, typer.Option(help="Directory of the dataset.")]
Split = Annotated[str, typer.Option(help="Name of the split, e.g. valid.")]
Output = Annotated[Path, typer.Option(help="Where to write.")]


@app.command()
def generate(study: Study, dataset: Dataset, output: Output) -> None:
    """Generate an embedded dataset at the study's scale."""
    from mssts import config
    from mssts.data.synthvis import generate as synthvis

    settings = config.resolve(config.load_study(study).scale).data.synthetic
    synthvis.generate(settings, dataset, output)


@app.command()
def prepare(dataset: Dataset, data: Data) -> None:
    """Check a dataset of your own (or coco), make its fingerprint and, of videos, the local split."""
    from mssts.data import prepare as stage
    from mssts.data.coco import DIRECTORY as COCO_DIRECTORY
    from mssts.ytvis.splits import VIDEOS_PER_SIDE

    if dataset == COCO_DIRECTORY:
        print(f"{data}: fingerprint {stage.prepare_coco(data)['fingerprint']}.")
        return
    record = stage.prepare(dataset, data)
    sides = f"{len(record['train'])} videos to train on, {len(record['valid'])} held out"
    print(f"{data}: {sides}; digest of the split {record['digest'][:12]}.")
    for name, found in record["exceptions"].items():
        print(f"fewer than {VIDEOS_PER_SIDE} videos on a side: {name} (train {found['train']}, valid {found['valid']})")


@app.command()
def pretrain(study: Study, dataset: Dataset, backbone: Backbone, seed: Seed, data: Data, output: Output) -> None:
    """Train the baseline on still images: the checkpoint that all variants start from."""
    from mssts.training import run as stage

    stage.pretrain(study, dataset, backbone, seed, data, output)


@app.command()
def train(
    study: Study,
    dataset: Dataset,
    backbone: Backbone,
    variant: Annotated[str, typer.Option(help="Name of a file in ablations/variants, without .yaml.")],
    seed: Seed,
    data: Data,
    init: Annotated[Path, typer.Option(help="Pre-trained checkpoint to start from.")],
    output: Output,
) -> None:
    """Train one variant on videos."""
    from mssts.training import run as stage

    stage.train(study, dataset, backbone, variant, seed, data, init, output)


@app.command()
def predict(
    study: Study,
    checkpoint: Annotated[Path, typer.Option(help="checkpoint.pt of a run.")],
    data: Data,
    dataset: Dataset,
    split: Split,
    output: Output,
) -> None:
    """Predict every video of a split: the official submission list, and the same list zipped beside it."""
    from mssts.inference import predict as stage

    stage.predict(study, checkpoint, data, dataset, split, output)


@app.command("import-weights")
def import_weights(
    file: Annotated[Path, typer.Argument(help="Public SeqFormer checkpoint (.pth with an entry `model`).")],
    output: Output,
    class_head: Annotated[
        str, typer.Option(help="keep, drop, or a dataset: one logit for each of its categories, by name.")
    ] = "keep",
    dataset: Annotated[str, typer.Option(help="Dataset whose category ids the public logits are.")] = "ytvis2019",
) -> None:
    """Turn a public SeqFormer checkpoint into one of ours: every entry is used, or named as dropped."""
    from mssts.inference import import_weights as stage

    dropped = stage.import_weights(file, output, class_head, dataset)
    for name in dropped:
        print(f"dropped: {name}")
    print(f"{output}: written; {len(dropped)} public entries that never act, or that you dropped, are left out.")


@app.command("server-scores")
def server_scores(study: Study) -> None:
    """Show the official scores that were entered by hand in server_scores.yaml."""
    from mssts.study import server_scores as stage

    print(stage.server_table(study))


@app.command()
def plan(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Name of a file in ablations/studies, without .yaml.")],
) -> None:
    """Say what a study costs: jobs, parameters, FLOPs, GPU memory and GPU hours, with the assumptions."""
    from mssts.study import plan as stage

    print(stage.plan(study))


@app.command("check-submission")
def check_submission(
    file: Annotated[Path, typer.Argument(help="Submission as JSON, or zipped; ours or of any other method.")],
    data: Data,
    dataset: Annotated[str | None, typer.Option(help="Name of the dataset; by default that of the directory.")] = None,
    split: Split = "valid",
) -> None:
    """Check a submission against every rule of the YouTube-VIS format."""
    from mssts.data.datasets import entry, expected_categories
    from mssts.ytvis import submission as stage
    from mssts.ytvis.annotations import read_annotations

    name = dataset or data.resolve().name
    path, _ = entry(name).files(data, split, need_images=False)
    annotations = read_annotations(path, truth="absent", expected=expected_categories(name))
    problems, notes = stage.check_submission(file, annotations)
    for note in notes:
        print(f"note: {note}")
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise InputError(f"{file}: {len(problems)} problem(s):\n{listed}")
    print(f"{file}: fit to submit; {len(stage.RULES)} rules checked:")
    for rule in stage.RULES:
        print(f"  {rule}")


@app.command()
def evaluate(
    annotations: Annotated[Path, typer.Option(help="Ground truth in YouTube-VIS format.")],
    predictions: Annotated[Path, typer.Option(help="Submission list: ours, or any other method's results.json.")],
    output: Output,
    split: Annotated[str | None, typer.Option(help="Name of the split, for the record.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Data set whose categories the ground truth must have.")] = None,
    study: Annotated[str | None, typer.Option(help="Study whose evaluation settings go into the record.")] = None,
    run: Annotated[Path | None, typer.Option(help="run.json of that run; with --study, mirrored.")] = None,
    lenient: Annotated[
        bool,
        typer.Option("--lenient", help="Accept what the reference evaluator silently accepts, and count each case."),
    ] = False,
) -> None:
    """Measure a submission list: AP, AR and per-challenge numbers, with the match records beside them."""
    from mssts.core.files import read_json
    from mssts.evaluation import evaluate as stage

    record = read_json(run) if run else None
    settings = None
    if study:
        from mssts import config
        from mssts.study import mlflow_mirror as tracking

        settings = config.resolve(config.load_study(study).scale).evaluation
    metrics = stage.evaluate(annotations, predictions, output, record, split, settings, lenient, dataset)
    for warning in metrics["warnings"]:
        place = f"{warning['count']} times, first at {warning['first']}"
        print(f"warning: {warning['file']}: {warning['what']} ({place})", file=sys.stderr)
    if record and study and tracking.enabled():
        tracking.log_evaluation(study, record, metrics, [output, predictions])


@app.command()
def complexity(study: Study) -> None:
    """Write the table of the study's models: parameters, and FLOPs of a clip."""
    from mssts.study.complexity import write_complexity
    from mssts.study.paths import report_dir

    write_complexity(study, report_dir(study))


@app.command()
def table(study: Study) -> None:
    """Write the study's tables as CSV, Markdown and LaTeX."""
    from mssts.report.tables import write_tables
    from mssts.study.paths import report_dir

    write_tables(study, report_dir(study))


@app.command()
def figures(study: Study) -> None:
    """Draw the study's training curves."""
    from mssts.report.curves import write_curves
    from mssts.study.paths import report_dir

    write_curves(study, report_dir(study))


@app.command()
def attention(study: Study) -> None:
    """Draw the study's attention maps, baseline against MS-STS."""
    from mssts.report.attention import write_attention
    from mssts.study.paths import report_dir

    write_attention(study, report_dir(study))


@app.command()
def document(study: Study, output: Output) -> None:
    """Typeset the study's report as one PDF."""
    from mssts.report.document import write_document
    from mssts.study import mlflow_mirror as tracking
    from mssts.study import paths

    write_document(study, output)
    if tracking.enabled():
        tracking.log_report(study, [output, *sorted(paths.report_dir(study).rglob("*.*"))])


@app.command("stop-trainings")
def stop_trainings() -> None:
    """Ask the trainings that a crashed driver left alive on this machine to save and stop."""
    from mssts.study.paths import RESULTS
    from mssts.training.run_lock import stop_owners

    print(f"{stop_owners(RESULTS)} trainings were alive; what they had done is saved")


@tracking_app.command("init")
def tracking_init(study: Study) -> None:
    """Create the MLflow store and the study's experiment; safe to repeat."""
    from mssts import config
    from mssts.study import mlflow_mirror as tracking

    config.load_study(study)
    tracking.initialise(study)


@tracking_app.command("sync")
def tracking_sync(study: Study) -> None:
    """Send MLflow what it misses of a study's finished runs, from their own files; safe to repeat."""
    from mssts.study import mlflow_mirror as tracking

    there, complete = tracking.sync(study)
    print(f"{complete} of {there} trainings and evaluations of study {study} are complete in MLflow")
    if complete < there:
        raise InputError("MLflow stopped answering in between. Sync again when it is back.")


def main() -> None:
    """Run the command line: one message, and exit code 2 for bad input or that of the failure; 130 when interrupted."""
    try:
        app(prog_name="mssts")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except RunFailure as failure:
        print(f"error: {failure}", file=sys.stderr)
        sys.exit(failure.exit_code)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print("interrupted", file=sys.stderr)
        raise
