"""The kinds of input: how each is changed, which entrances read it, and what must be refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from mssts.config import leaves
from mssts.data.coco import read_coco
from mssts.data.datasets import split_annotations
from mssts.data.frames import FrameStore
from mssts.data.stills import StillClipDataset
from mssts.data.training import training_clips
from mssts.models import build_model
from mssts.report import tables  # noqa: F401  (imported once, and not by the process of each input)
from mssts.study.mlflow_content import finished_training_content
from mssts.study.resolve import load_study
from mssts.study.runs import read_runs
from mssts.study.workflow import check_inputs, missing_data, report_content
from mssts.ytvis.annotations import read_annotations
from mssts.ytvis.boxes import boxes_beside, read_boxes
from mssts.ytvis.submission import read_submission
from tests.fuzz import changes, ranges
from tests.fuzz.case import Case
from tests.fuzz.project import (
    CHECKPOINT,
    COCO,
    PREDICTIONS,
    PUBLIC_WEIGHTS,
    RUN,
    STILLS,
    STUDY,
    SYNTHVIS,
    TRUTH,
    VALID,
    YTVIS,
    ZIP,
)

NAMED = ("--dataset", "ytvis2019")
PREPARE = ("prepare", *NAMED, "--data", YTVIS)
PREPARE_COCO = ("prepare", "--dataset", "coco", "--data", COCO)
TABLES = ("tables", "--study", STUDY)
DATA = ("--study", STUDY, "--dataset", "synthvis", "--data", SYNTHVIS)
PREDICTED = Path("predicted/predictions.json")
PREDICT = ("predict", *DATA, "--split", "valid", "--checkpoint", CHECKPOINT, "--output", PREDICTED)
PRETRAIN = ("pretrain", *DATA, "--backbone", "tiny", "--seed", "1", "--output", "pretrained")
START = ("--variant", "baseline", "--init", CHECKPOINT, "--output", "trained")
TRAIN = ("train", *DATA, "--backbone", "tiny", "--seed", "1", *START)
LARGEST_TRAINED = 4096
VALID_TRUTH, RUN_PREDICTIONS = SYNTHVIS / "valid.json", RUN / "valid/predictions.json"


def ground_truth(case: Case) -> None:
    """Ground truth: evaluation, preparation, training."""
    path = case.rng.choice([TRUTH, TRUTH, VALID])
    changes.change_json(case, path)
    evaluated = case.evaluate(path, PREDICTIONS, *NAMED)
    case.evaluate(path, PREDICTIONS, "--lenient")
    prepared = case.command(*PREPARE)
    no_truth = path == VALID and re.search(
        r"annotations$|annotations: found (None|\[\])", evaluated or "", re.MULTILINE
    )
    only_prepared = re.search(r"file_names|local split|image", prepared or "")
    if not no_truth and not only_prepared:
        case.agree(evaluate=evaluated, prepare=prepared)
    if evaluated is None:
        for problem in ranges.of_annotations(path):
            case.expect(False, f"accepted: {problem}")
    if prepared is None:
        Path("empty.json").write_text("[]")
        split = case.evaluate(YTVIS / "local_valid.json", Path("empty.json"), *NAMED)
        training = case.read("training clips", lambda: _read_clips("ytvis2019", YTVIS))
        case.agree(prepare=None, evaluate_local_split=split, training=training)


def _read_clips(dataset: str, directory: Path) -> None:
    clips = training_clips(dataset, directory, load_study(STUDY).baseline)
    for index in range(len(clips)):
        clips.clip(index, np.random.default_rng(index))


def submission(case: Case, path: Path = PREDICTIONS) -> None:
    """Predictions: evaluation, and the check before submitting."""
    if path == ZIP:
        changes.change_zip(case)
    else:
        changes.change_json(case, path)
    evaluated = case.evaluate(TRUTH, path, *NAMED)
    case.evaluate(TRUTH, path, "--lenient")
    checked = case.command("check-submission", path, "--data", YTVIS, *NAMED, "--split", "train")
    if evaluated is None:
        for problem in ranges.of_submission(path):
            case.expect(False, f"accepted: {problem}")
    if evaluated is not None or "list is empty" not in (checked or ""):  # which can be evaluated but not submitted
        case.agree(evaluate=evaluated, check_submission=checked)


def zipped_submission(case: Case) -> None:
    """Predictions in a zip."""
    submission(case, ZIP)


def boxes(case: Case) -> None:
    """Boxes of predictions, as if their digest had not been recorded."""
    path = boxes_beside(RUN_PREDICTIONS)
    changes.change_json(case, path)
    truth = read_annotations(VALID_TRUTH)
    case.read("boxes", lambda: read_boxes(path, read_submission(RUN_PREDICTIONS, truth), truth))


def stills(case: Case) -> None:
    """COCO-style stills: preparation, pre-training."""
    changes.change_json(case, STILLS)
    prepared = case.command(*PREPARE_COCO)
    case.agree(prepare=prepared, pretraining=case.read("still clips", _read_stills))


def _read_stills() -> None:
    clips = StillClipDataset(read_coco(COCO), 2, load_study(STUDY).baseline.data)
    for index in range(len(clips)):
        clips.clip(index, np.random.default_rng(index))


def configuration(case: Case) -> None:
    """Study, scale, variant and baseline: what cannot be built or trained is refused when the study is loaded."""
    must_be_refused = changes.change_yaml(case)

    def load() -> None:
        study = load_study(STUDY)
        check_inputs(study)
        missing_data(study)
        report_content(study).encode()

    if case.read("load study", load) is not None:
        return
    case.expect(not must_be_refused, "accepted a value outside of its range")
    study, largest = load_study(STUDY), 0.0
    for config in study.configs.values():
        case.expect(0 < config.predict.mask_threshold < 1, "accepted a mask_threshold that gives no mask")
        for values in leaves(config.model_dump(mode="json")).values():
            numbers = [value for value in np.ravel(np.array(values, object)) if isinstance(value, int | float)]
            largest = max([largest, *numbers])
    for config in study.configs.values() if largest < 2**40 else ():
        for backbone in study.spec.backbones:

            def build(section=config.model, name: str = backbone) -> None:
                with torch.device("meta"):
                    build_model(section, name, 3)

            case.expect(case.read("build model", build) is None, "accepted a model that cannot be built")
    case.expect(largest < 2**40, f"accepted {largest}")
    if largest <= LARGEST_TRAINED and case.rng.random() < 0.3:
        case.expect(case.command(*PRETRAIN) is None, "accepted what cannot be trained")


def image(case: Case) -> None:
    """Frames: preparation, training, prediction."""
    expected, must_be_refused = changes.change_image(case)
    prepared = case.command(*PREPARE)
    pixels: list[np.ndarray] = []

    def decode() -> None:
        split = split_annotations("ytvis2019", YTVIS, "train")
        frames_THWC = FrameStore(split).clip(split.videos[0], [0])[0].permute(0, 2, 3, 1)
        pixels.append(frames_THWC[0].numpy().astype(int))

    refused = case.read("training frame", decode)
    case.expect(prepared is None or refused is not None, f"training reads what prepare refuses: {prepared}")
    case.expect(refused is not None or not must_be_refused, "accepted a damaged or undefined image")
    if pixels and expected is not None:
        difference = np.abs(pixels[0] - expected).mean()
        case.expect(difference < 12, f"accepted with other pixels: mean difference {difference:.0f}")


def checkpoint(case: Case) -> None:
    """Weights: prediction, the start of a training."""
    changes.change_checkpoint(case, CHECKPOINT)
    predicted = case.command(*PREDICT)
    if predicted is None:
        case.agree(predict=None, evaluate=case.evaluate(VALID_TRUTH, PREDICTED))
        weights = torch.load(CHECKPOINT, weights_only=True)["model"].values()
        case.expect(all(bool(weight.isfinite().all()) for weight in weights), "accepted weights that are not finite")
    trained = case.command(*TRAIN)
    if "class_heads" not in (predicted or ""):  # a start does not use the class heads of other categories
        case.agree(predict=predicted, train=trained)


def public_weights(case: Case) -> None:
    """Public checkpoints: import."""
    changes.change_checkpoint(case, PUBLIC_WEIGHTS)
    refused = case.command("import-weights", PUBLIC_WEIGHTS, "--output", "imported.pt")
    case.expect(refused, "accepted a few weights as a whole model")


def digest(case: Case) -> None:
    """Files that differ from their recorded digest: whatever reads them."""
    case.command(*PREPARE)
    case.command(*PREPARE_COCO)
    evaluate = ("evaluate", "--output", "evaluated/metrics.json", "--annotations")
    of_run = (VALID_TRUTH, "--predictions", RUN_PREDICTIONS)

    def read_matches() -> None:
        for result in read_runs(load_study(STUDY)).results:
            if result.metrics is not None:
                result.read_matches()
                result.read_box_matches()

    readers: dict[Path, tuple[object, ...] | Callable[[], object]] = {
        CHECKPOINT: case.rng.choice([PREDICT, TRAIN]),
        RUN / "run.json": case.rng.choice([PREDICT, TABLES]),
        RUN / "log.jsonl": lambda: finished_training_content(RUN),
        RUN / "cost.json": TABLES,
        RUN / "valid/metrics.json": TABLES,
        RUN / "valid/matches.npz": read_matches,
        RUN / "valid/box_matches.npz": read_matches,
        RUN_PREDICTIONS: (*evaluate, *of_run),
        boxes_beside(RUN_PREDICTIONS): (*evaluate, *of_run),
        SYNTHVIS / "fingerprint.json": case.rng.choice([PREDICT, TRAIN]),
        SYNTHVIS / "frames.sha256": PREDICT,
        VALID_TRUTH: PREDICT,
        SYNTHVIS / "valid/JPEGImages": PREDICT,
        SYNTHVIS / "train.json": TRAIN,
        SYNTHVIS / "train/JPEGImages": lambda: _read_clips("synthvis", SYNTHVIS),
        SYNTHVIS / "stills.json": PRETRAIN,
        YTVIS / "local_train.json": lambda: _read_clips("ytvis2019", YTVIS),
        YTVIS / "local_valid.json": (*evaluate, YTVIS / "local_valid.json", "--predictions", PREDICTIONS),
        TRUTH: (*evaluate, TRUTH, "--predictions", PREDICTIONS),
        STILLS: _read_stills,
    }
    place = case.rng.choice(list(readers))
    path = case.rng.choice(sorted(path for path in place.rglob("*") if path.is_file()) or [place])
    if case.number:
        changes.flip_bit(case, path)
    reader = readers[place]
    refused = case.read(f"reader of {place}", reader) if callable(reader) else case.command(*reader)
    case.expect(refused or case.number == 0, f"{path}: a changed file is used")


def record(case: Case) -> None:
    """Records and metrics of runs, and scores entered by hand: the tables of the report."""
    changes.change_record(case)
    case.command(*TABLES)
    case.read("content for MLflow", lambda: finished_training_content(RUN))


def arguments(case: Case) -> None:
    """Arguments of commands: names, inputs and outputs."""
    for name, kind in changes.KINDS_OF_FILE.items():
        kind(Path(name.replace(" ", "_")), PREDICTIONS)
    commands: list[tuple[object, ...]] = [
        ("evaluate", *NAMED, "--annotations", TRUTH, "--predictions", PREDICTIONS, "--output", "metrics.json"),
        ("check-submission", PREDICTIONS, "--data", YTVIS, *NAMED, "--split", "train"),
        TRAIN,
        ("import-weights", PUBLIC_WEIGHTS, "--output", "imported.pt", "--class-head", "drop"),
        TABLES,
        PREDICT,
        PREPARE,
    ]
    command = list(case.rng.choice(commands) if case.number else commands[0])
    if case.number:
        values = [str(value) for value in command[1:] if not str(value).startswith("--")]
        place = case.rng.choice([n for n in range(1, len(command)) if str(command[n]) in values])
        names = [name.replace(" ", "_") for name in changes.KINDS_OF_FILE]
        command[place] = case.rng.choice([*values, *names, *changes.ARGUMENTS])
    case.command(*command)


KINDS: dict[str, Callable[[Case], None]] = {
    "annotations": ground_truth,
    "submission": submission,
    "zip": zipped_submission,
    "boxes": boxes,
    "stills": stills,
    "yaml": configuration,
    "image": image,
    "checkpoint": checkpoint,
    "public-weights": public_weights,
    "digest": digest,
    "record": record,
    "arguments": arguments,
}
OFTEN = ("annotations", "annotations", "submission", "zip", "yaml", "yaml", "image")  # take more turns than the others
