"""Try hostile inputs on every entrance: no trace, signal, hang, wrong value or changed file may get through.

    python benchmarks/fuzz.py [--kinds zip image] [--count 500] [--first 0] [--seed 0] [--keep DIRECTORY]

An input is a small valid file that is changed at random: a value of its tree, its bytes, or the kind of file it is.
Number n of a kind is always the same input (`--kinds zip --first 137 --count 1`); number 0 is the valid file. All
commands that read such a file read it in a process of its own, in a copy of a small complete project; `--keep` leaves
these copies, to try a command by hand. Each command must

- end within 10 seconds and 4 GB, with exit code 0, or with exit code 2 and a message for people;
- leave every file as it was;
- refuse a file that differs from its recorded digest, and every value outside of its documented range;
- give the verdict that the other commands give on the same file.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fuzz_inputs as inputs
import numpy as np
import torch

from mssts import cli
from mssts.config import leaves
from mssts.core.errors import InputError
from mssts.data.coco import read_coco
from mssts.data.datasets import split_annotations
from mssts.data.frames import FrameStore
from mssts.data.stills import StillClipDataset
from mssts.data.training import training_clips
from mssts.models import build_model
from mssts.report import tables  # noqa: F401  (imported once, and not in the process of each input)
from mssts.study.resolve import load_study
from mssts.study.workflow import check_inputs, missing_data, report_content
from mssts.training.failures import RunFailure

SECONDS, BYTES = 10, 4 * 2**30
NOT_FOR_PEOPLE = re.compile(
    r"Traceback|(?!InputError)\b\w+(Error|Exception|Warning)\b|<class|<built-in|object at 0x|weights_only|pydantic"
    r"|[^\n -~\xa0-\uffff]"
)
CHECKPOINT = inputs.RUN / "checkpoint.pt"
TRAINING = ("--study", "fuzz", "--dataset", "synthvis", "--backbone", "tiny", "--seed", "1", "--data", inputs.SYNTHVIS)
START = (*TRAINING, "--variant", "baseline", "--init", CHECKPOINT, "--output", "trained")
PREDICT = ("predict", "--study", "fuzz", "--data", inputs.SYNTHVIS, "--dataset", "synthvis", "--split", "valid")


def trace(error: BaseException) -> str:
    """The error, and the place in mssts that it came from."""
    places = [frame for frame in traceback.extract_tb(error.__traceback__) if "mssts" in Path(frame.filename).parts]
    place = f"{Path(places[-1].filename).name}:{places[-1].lineno}" if places else "no place"
    return f"{type(error).__name__} at {place}: {str(error)[-300:]}"


@dataclass
class Case:
    """One input, in the process that reads it; the current directory is its project.

    Attributes:
        rng: Source of all that is random.
        number: Its number; 0 is the valid file.
        log: File that receives what is done and found, one line each: it is read even if the process dies.
    """

    rng: random.Random
    number: int
    log: Path

    def note(self, what: str, text: object) -> None:
        """Append a line to the log."""
        with self.log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{what} {str(text)[:1500]!r}\n")

    def expect(self, holds: object, text: str) -> None:
        """Record a finding unless it holds."""
        if not holds:
            self.note("FOUND", text)

    def command(self, *arguments: object) -> str | None:
        """Run a command of mssts; see `read`."""

        def main() -> None:
            sys.argv = ["mssts", *map(str, arguments)]
            cli.main()

        return self.read(" ".join(map(str, arguments)), main)

    def read(self, name: str, entrance: Callable[[], object]) -> str | None:
        """Call an entrance and check how it ends. Returns the message if the input is refused, None if accepted."""
        self.note("run", name)
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors, "") for errors in ("strict", "backslashreplace"))
        before, code = inputs.state_of(Path()), 0
        try:
            signal.alarm(SECONDS)  # nothing handles it: it ends the process, which is seen from outside
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                entrance()
        except (InputError, RunFailure) as error:
            code = error.exit_code
            err.write(f"error: {error}")
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException as error:
            self.note("FOUND", f"trace of {name}: {trace(error)}")
            code = -1
        signal.alarm(0)
        err.seek(0)
        message = re.sub(r"\r.*", "", err.read())  # without progress bars
        after = inputs.state_of(Path())
        self.expect(code in (0, 2, -1), f"{name}: exit code {code}: {message}")
        self.expect(code != 2 or message.count("error:"), f"{name}: exit code 2 without an error: {message}")
        strange = NOT_FOR_PEOPLE.search(message)
        self.expect(not strange, f"{name}: {strange and strange[0]!r} is not for people: {message}")
        self.expect(len(message) < 20_000, f"{name}: a message of {len(message)} characters: {message[:300]}")
        changed = [path for path in before if after.get(path) != before[path]]
        self.expect(not changed, f"{name}: changed {changed}")
        self.expect(not Path("owned").exists(), f"{name}: executed code of the file")
        self.note("exit", f"{code}: {message}")
        return message or "no message" if code else None

    def evaluate(
        self, annotations: Path, predictions: Path, *options: object, output: str = "out/m.json"
    ) -> str | None:
        """Run `evaluate`, and check the metrics that it writes."""
        files = ("--annotations", annotations, "--predictions", predictions, "--output", output)
        refused = self.command("evaluate", *files, *options)
        if refused is None:
            metrics = json.loads(Path(output).read_text())
            values = leaves({key: metrics[key] for key in ("overall", "class_agnostic", "per_category", "attributes")})
            shares = {key: value for key, value in values.items() if value is not None and ".instances" not in key}
            wrong = {key: value for key, value in shares.items() if not 0 <= value <= 1}
            self.expect(not wrong, f"metrics outside of 0..1: {wrong}")
            shutil.rmtree(Path(output).parent)
        return refused

    def agree(self, verdicts: dict[str, str | None], what: str = "one file, two verdicts") -> None:
        """Check that all entrances accept a file, or all refuse it."""
        refused = [verdict is not None for verdict in verdicts.values()]
        self.expect(all(refused) or not any(refused), f"{what}: {verdicts}")


def ground_truth(case: Case) -> None:
    """Ground truth: evaluation, preparation, training."""
    path = inputs.YTVIS / "train.json"
    inputs.change_json(case, path)
    files, named = (path, Path("predictions.json")), ("--dataset", "ytvis2019")
    evaluated = case.evaluate(*files, *named)
    case.evaluate(*files, "--lenient")
    prepared = case.command("prepare", *named, "--data", inputs.YTVIS)
    frames = prepared is not None and re.search(r"file_names|local split|image", prepared)
    if not frames:
        case.agree({"evaluate": evaluated, "prepare": prepared})
    if evaluated is None:
        for problem in inputs.annotation_problems(path):
            case.expect(False, f"accepted: {problem}")
    if prepared is None:
        Path("empty.json").write_text("[]")
        held_out = inputs.YTVIS / "local_valid.json"
        case.expect(case.evaluate(held_out, Path("empty.json"), *named) is None, "the local split is refused")
        config = load_study("fuzz").baseline

        def train() -> None:
            clips = training_clips("ytvis2019", inputs.YTVIS, config)
            for index in range(min(len(clips), 8)):
                clips.clip(index, np.random.default_rng(index))

        case.expect(case.read("training clips", train) is None, "training refuses what prepare accepts")


def submission(case: Case, path: Path = Path("predictions.json")) -> None:
    """Predictions: evaluation, the check before submitting."""
    (inputs.change_zip if path.suffix == ".zip" else inputs.change_json)(case, path)
    truth, named = inputs.YTVIS / "train.json", ("--dataset", "ytvis2019")
    evaluated = case.evaluate(truth, path, *named)
    checked = case.command("check-submission", path, "--data", inputs.YTVIS, *named, "--split", "train")
    case.evaluate(truth, path, "--lenient")
    if evaluated is None:
        for problem in inputs.submission_problems(path):
            case.expect(False, f"accepted: {problem}")
    if evaluated is not None or "list is empty" not in (checked or ""):
        case.agree({"evaluate": evaluated, "check-submission": checked})


def zipped(case: Case) -> None:
    """The same in a zip."""
    submission(case, Path("predictions.zip"))


def stills(case: Case) -> None:
    """COCO-style stills: preparation, pre-training."""
    inputs.change_json(case, inputs.COCO / "annotations/instances_train2017.json")
    prepared = case.command("prepare", "--dataset", "coco", "--data", inputs.COCO)
    config = load_study("fuzz").baseline

    def train() -> None:
        clips = StillClipDataset(read_coco(inputs.COCO.parent), 2, config.data)
        for index in range(len(clips)):
            clips.clip(index, np.random.default_rng(index))

    case.agree({"prepare": prepared, "pre-training": case.read("still clips", train)})


def configuration(case: Case) -> None:
    """Studies, scales, variants and the baseline: all is checked when a study is loaded."""
    must_be_refused = inputs.change_yaml(case)

    def load() -> None:
        study = load_study("fuzz")
        check_inputs(study)
        missing_data(study)
        report_content(study).encode()

    refused = case.read("load study", load)
    case.expect(refused is not None or not must_be_refused, "accepted a value outside of its range")
    if refused is not None:
        return
    study = load_study("fuzz")
    numbers = [
        value
        for config in study.configs.values()
        for values in leaves(config.model_dump(mode="json")).values()
        for value in (values if isinstance(values, list) else [values])
        if isinstance(value, int | float)
    ]
    for config in study.configs.values():
        case.expect(0 < config.predict.mask_threshold < 1, "accepted a mask_threshold without any mask")
        for backbone in study.spec.backbones:

            def build(config: Any = config, backbone: str = backbone) -> None:
                with torch.device("meta"):
                    build_model(config.model, backbone, 3)

            case.expect(case.read("build model", build) is None, "accepted a model that cannot be built")
    if max(numbers) <= 4096 and case.rng.random() < 0.3:
        case.expect(case.command("pretrain", *TRAINING, "--output", "out") is None, "accepted what cannot be trained")


def image(case: Case) -> None:
    """Frames: preparation, training, prediction."""
    expected, must_be_refused = inputs.change_image(case)
    prepared = case.command("prepare", "--dataset", "ytvis2019", "--data", inputs.YTVIS)
    seen: list[np.ndarray] = []

    def decode() -> None:
        split = split_annotations("ytvis2019", inputs.YTVIS, "train")
        seen.append(FrameStore(split).clip(split.videos[0], [0])[0][0].permute(1, 2, 0).numpy())

    refused = case.read("training frame", decode)
    case.expect(refused is not None or not must_be_refused, "accepted a damaged or undefined image")
    case.expect(prepared is None or refused is not None, f"training reads what prepare refuses: {prepared}")
    if seen and expected is not None:
        difference = np.abs(seen[0].astype(int) - expected).mean()
        case.expect(difference < 12, f"accepted with other pixels: mean difference {difference:.0f}")


def checkpoint(case: Case) -> None:
    """Weights: prediction, the start of a training, import."""
    inputs.change_checkpoint(case, CHECKPOINT)
    refused = case.command(*PREDICT, "--checkpoint", CHECKPOINT, "--output", "out/p.json")
    if refused is None:
        problem = case.evaluate(inputs.SYNTHVIS / "valid.json", Path("out/p.json"), output="m/m.json")
        case.expect(problem is None, "predicted what cannot be evaluated")
        weights = torch.load(CHECKPOINT, weights_only=True)["model"].values()
        case.expect(all(bool(weight.isfinite().all()) for weight in weights), "accepted weights that are not finite")
    case.agree({"predict": refused, "train --init": case.command("train", *START)})


def public_weights(case: Case) -> None:
    """Public checkpoints: import."""
    inputs.change_checkpoint(case, Path("public.pth"))
    refused = case.command("import-weights", "public.pth", "--output", "imported.pt")
    case.expect(refused, "accepted a few weights as a whole model")


def digest(case: Case) -> None:
    """Files whose digest is recorded and that have been changed since: no command uses them."""
    case.command("prepare", "--dataset", "ytvis2019", "--data", inputs.YTVIS)
    config = load_study("fuzz").baseline

    def predict() -> str | None:
        return case.command(*PREDICT, "--checkpoint", CHECKPOINT, "--output", "out/p.json")

    def start() -> str | None:
        return case.command("train", *START)

    readers: dict[Path, Callable[[], str | None]] = {
        CHECKPOINT: lambda: predict() and start(),
        inputs.YTVIS / "local_train.json": lambda: case.read(
            "training clips", lambda: training_clips("ytvis2019", inputs.YTVIS, config)
        ),
        inputs.SYNTHVIS / "valid.json": predict,
        inputs.SYNTHVIS / "valid/JPEGImages": predict,
        inputs.SYNTHVIS / "train.json": start,
        inputs.SYNTHVIS / "train/JPEGImages": start,
    }
    path = case.rng.choice(list(readers))
    if path.is_dir():
        path = case.rng.choice(sorted(file for file in path.rglob("*") if file.is_file()))
    reader = next(reader for key, reader in readers.items() if path.is_relative_to(key))
    if case.number:
        inputs.flip(case, path)
    refused = reader()
    case.expect((refused is None) == (case.number == 0), f"{path}: a changed file is used")


def records(case: Case) -> None:
    """Records and metrics of runs, and scores entered by hand: the tables of the report."""
    inputs.change_record(case)
    case.command("tables", "--study", "fuzz")


KINDS: dict[str, Callable[[Case], None]] = {
    "annotations": ground_truth,
    "submission": submission,
    "zip": zipped,
    "stills": stills,
    "yaml": configuration,
    "image": image,
    "checkpoint": checkpoint,
    "public-weights": public_weights,
    "digest": digest,
    "records": records,
}
TURNS = [*KINDS, "annotations", "annotations", "submission", "zip", "yaml", "yaml", "image"]


def try_input(project: Path, root: Path, kind: str, number: int, seed: int) -> tuple[list[str], list[str]]:
    """Read one input in a process of its own. Returns (what was done, findings)."""
    shutil.copytree(project, root, symlinks=True)
    log = root.with_suffix(".log")
    log.touch()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.chdir(root)
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES,) * 2)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            case = Case(random.Random(f"{seed} {kind} {number}"), number, log)
            KINDS[kind](case)
            status = 0
        except BaseException:
            Case(random.Random(), number, log).note("FOUND", traceback.format_exc()[-1500:])
        os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    done = log.read_text(encoding="utf-8").splitlines()
    found = [line.removeprefix("FOUND ") for line in done if line.startswith("FOUND ")]
    if status == -signal.SIGALRM:
        found.append(f"hangs for {SECONDS} s: {done[-1]}")
    elif status < 0:
        found.append(f"{signal.Signals(-status).name}: {done[-1]}")
    if number == 0 and kind != "public-weights":  # whose valid file is too large to be tried often
        found += [
            f"the valid file is refused: {line}" for line in done if line.startswith("exit") and "'0:" not in line
        ]
    return done, found


def fuzz(
    directory: Path, kinds: list[str], first: int, count: int, seed: int = 0, keep: bool = False
) -> Iterator[tuple[str, int, list[str], list[str]]]:
    """Try `count` inputs, taken from the kinds in turn. Yields (kind, number, what was done, findings) of each."""
    os.environ |= {"MSSTS_MLFLOW": "off", "TQDM_DISABLE": "1"}
    torch.set_num_threads(1)
    project = directory / "project"
    inputs.build_project(project)
    turns = [kind for kind in TURNS if kind in kinds]
    tried = Counter[str]()
    for n in range(count):
        kind = turns[n % len(turns)]
        number = first + tried[kind]
        tried[kind] += 1
        root = directory / f"{kind}-{number}"
        done, found = try_input(project, root, kind, number, seed)
        yield kind, number, done, found
        if not keep:
            shutil.rmtree(root)
            root.with_suffix(".log").unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--count", type=int, default=500, help="inputs, taken from the kinds in turn")
    parser.add_argument("--first", type=int, default=0, help="number of the first input of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="new directory that keeps the project of each input")
    options = parser.parse_args()
    tried, failed, started = Counter[str](), Counter[str](), time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        directory = (options.keep or Path(temporary)).resolve()
        keep = options.keep is not None
        for kind, number, done, found in fuzz(
            directory, options.kinds, options.first, options.count, options.seed, keep
        ):
            tried[kind] += 1
            failed[kind] += bool(found)
            for line in found:
                changes = "; ".join(line for line in done if line.startswith("change"))
                print(f"{kind} {number}: {changes[:300]}\n    {line[:700]}", flush=True)
    for kind in tried:
        print(f"{kind}: {tried[kind]} inputs, {failed[kind]} with findings")
    print(f"{sum(tried.values())} inputs in {time.monotonic() - started:.0f} s")
    sys.exit(1 if any(failed.values()) else 0)


if __name__ == "__main__":
    main()
