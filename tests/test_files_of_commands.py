"""Files of commands: changed ones are not used, outputs replace no inputs, errors of the system are messages."""

from __future__ import annotations

import os
import resource
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mssts import cli
from mssts.core.files import read_record, record_beside, sha256_file
from mssts.report.registry import CONTENTS, files_of_step
from mssts.study.paths import HTML
from mssts.ytvis.boxes import boxes_beside
from tests.fuzz.project import (
    CHECKPOINT,
    PREDICTIONS,
    PUBLIC_WEIGHTS,
    RUN,
    STUDY,
    SYNTHVIS,
    TRUTH,
    YTVIS,
    build_project,
)

OUTPUT = "OUTPUT"
PREDICTED = RUN / "valid/predictions.json"
OF_PREDICTIONS = (PREDICTED, boxes_beside(PREDICTED), record_beside(PREDICTED))
GENERATED = ("--study", STUDY, "--dataset", "synthvis", "--data", SYNTHVIS)
OF_RUN = ("--run", RUN / "run.json")
TRAINED = ("--backbone", "tiny", "--seed", "1", "--output", OUTPUT)
VALID, REPORT, FRAME = SYNTHVIS / "valid.json", Path("reports") / STUDY, SYNTHVIS / "valid/JPEGImages/00000/00000.jpg"
RUN_FILES = ("checkpoint.pt", "run.json", "log.jsonl", "cost.json")
COMMANDS = {
    "generate": ("--study", STUDY, "--dataset", "synthvis", "--output", OUTPUT),
    "prepare": ("--dataset", "ytvis2019", "--data", YTVIS),
    "pretrain": (*GENERATED, *TRAINED),
    "train": (*GENERATED, *TRAINED, "--variant", "baseline", "--init", CHECKPOINT, "--again"),
    "predict": (*GENERATED, "--split", "valid", "--checkpoint", CHECKPOINT, "--output", OUTPUT),
    "evaluate": ("--study", STUDY, "--annotations", VALID, "--predictions", PREDICTED, *OF_RUN, "--output", OUTPUT),
    "import-weights": (PUBLIC_WEIGHTS, "--output", OUTPUT),
    "complexity": ("--study", STUDY),
    "tables": ("--study", STUDY),
    "figures": ("--study", STUDY),
    "attention": ("--study", STUDY),
    "document": ("--study", STUDY, "--output", OUTPUT),
    "html": ("--study", STUDY),
}
WRITTEN = {  # by commands that name their outputs themselves
    "prepare": [
        YTVIS / name for name in ("local_train.json", "local_valid.json", "local_split.json", "fingerprint.json")
    ],
    "html": [REPORT / HTML],
} | {step: [REPORT / name for name in files_of_step(step)] for step in ("complexity", "tables", "figures", "attention")}
SIBLINGS: dict[str, tuple[str, ...]] = {  # written beside --output
    "predict": ("new.zip", "new.boxes.json", "new.record.json"),
    "evaluate": ("matches.npz", "box_matches.npz"),
}
INPUTS = {
    "predict": [CHECKPOINT, RUN / "run.json", VALID, SYNTHVIS / "fingerprint.json", FRAME],
    "evaluate": [VALID, SYNTHVIS / "fingerprint.json", RUN / "run.json", *OF_PREDICTIONS],
    "import-weights": [PUBLIC_WEIGHTS],
    "document": [
        REPORT / next(file for entry in CONTENTS for file in entry.files),
        RUN / "run.json",
        RUN / "valid/metrics.json",
    ],
}
CONFIGURATION = [Path("ablations/baseline.yaml"), Path(f"ablations/studies/{STUDY}.yaml")]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("outputs") / "project"
    build_project(root)
    return root


@pytest.fixture
def project(built, tmp_path, monkeypatch) -> Path:
    """A small complete project as the working directory."""
    monkeypatch.chdir(shutil.copytree(built, tmp_path / "project"))
    monkeypatch.setenv("MSSTS_MLFLOW", "off")
    return Path.cwd()


def contents(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def command(monkeypatch, capsys) -> Callable[..., tuple[int, str]]:
    """A function that runs a command in this process: its exit code and what it says on the error stream."""

    def run(name: str, output: Path | str) -> tuple[int, str]:
        words = [str(output) if word == OUTPUT else str(word) for word in COMMANDS[name]]
        monkeypatch.setattr(sys, "argv", ["mssts", name, *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), capsys.readouterr().err

    return run


RECORDED = {
    "predict": [CHECKPOINT, RUN / "run.json", VALID, FRAME, SYNTHVIS / "fingerprint.json"],
    "train": [CHECKPOINT, RUN / "run.json", SYNTHVIS / "train.json", SYNTHVIS / "fingerprint.json"],
    "evaluate": [VALID, SYNTHVIS / "fingerprint.json", RUN / "run.json", *OF_PREDICTIONS],
    "tables": [RUN / "run.json", RUN / "cost.json", RUN / "valid/metrics.json"],
}


@pytest.mark.parametrize(("stage", "file"), [(stage, file) for stage, files in RECORDED.items() for file in files])
def test_a_file_with_a_recorded_digest_is_not_used_after_any_bit_changed(project, command, stage, file):
    written = bytearray(file.read_bytes())
    for bit in np.random.default_rng(0).integers(0, 8 * len(written), 3).tolist():
        changed = written.copy()
        changed[bit // 8] ^= 1 << bit % 8
        file.write_bytes(changed)
        code, said = command(stage, "new")
        assert code == 2 and f"{file}" in said.splitlines()[-1], said
        assert not Path("new").is_file() and not Path("new/checkpoint.pt").exists()


def test_predictions_are_recorded_with_what_they_were_made_of(project, command):
    assert command("predict", "new.json")[0] == 0
    record = read_record(Path("new.record.json"))
    assert record.pop("data_fingerprint") == read_record(SYNTHVIS / "fingerprint.json")["fingerprint"]
    files = {name: sha256_file(Path(name)) for name in ("new.json", "new.zip", "new.boxes.json")}
    assert record == {
        "checkpoint_sha256": sha256_file(CHECKPOINT),
        "dataset": "synthvis",
        "split": "valid",
        "files": files,
    }
    assert command("evaluate", "metrics.json")[0] == 0
    for section in ("overall", "boxes"):
        assert read_record(Path("metrics.json"))[section] == read_record(RUN / "valid/metrics.json")[section]


def as_itself(path: Path) -> Path:
    return path


def as_hard_link(path: Path) -> Path:
    os.link(path, "another_name.json")
    return Path("another_name.json")


def through_a_linked_folder(path: Path) -> Path:
    Path("linked").symlink_to(path.parent)
    return Path("linked") / path.name


READ = [(stage, source, as_itself) for stage in INPUTS for source in INPUTS[stage] + CONFIGURATION]
READ += [(stage, INPUTS[stage][0], name) for stage in INPUTS for name in (as_hard_link, through_a_linked_folder)]


@pytest.mark.parametrize(("stage", "source", "name"), READ)
def test_an_output_is_never_an_input(project, command, stage, source, name):
    source.parent.mkdir(parents=True, exist_ok=True)
    source.touch()
    output, before = name(source), contents(project)
    code, said = command(stage, output)
    assert code == 2 and "an input of this command" in said and said.count("\n") == 1, said
    assert contents(project) == before


def test_a_training_never_replaces_the_checkpoint_that_it_starts_from(project, command):
    before = contents(project)
    code, said = command("train", RUN)
    assert code == 2 and "checkpoint.pt: is an input of this command" in said
    assert contents(project) == before


def outputs(stage: str) -> list[tuple[Path | str, Path]]:
    """Pairs of --output and a file that the command then writes."""
    if stage in WRITTEN:
        return [("", WRITTEN[stage][0]), ("", WRITTEN[stage][-1])]
    if stage == "generate":
        return [(Path("new"), Path("new"))]
    if stage in ("pretrain", "train"):
        return [(Path("new"), Path("new") / file) for file in RUN_FILES]
    return [(Path("new.json"), Path(file)) for file in ("new.json", *SIBLINGS.get(stage, ()))]


SPECIAL = [(stage, *pair, "link") for stage in COMMANDS for pair in outputs(stage)]
SPECIAL += [(stage, *outputs(stage)[0], kind) for stage in COMMANDS for kind in ("FIFO", "folder", "dangling link")]


@pytest.mark.parametrize(("stage", "output", "file", "kind"), SPECIAL, ids=str)
def test_an_output_is_new_or_an_ordinary_file(project, command, stage, output, file, kind):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    if kind == "folder":
        (file / "inside").mkdir(parents=True)
    elif kind == "FIFO":
        os.mkfifo(file)
    else:
        file.symlink_to((TRUTH if kind == "link" else Path("nowhere")).absolute())
    before = contents(project)
    code, said = command(stage, output)
    assert code == 2 and f"{file}: " in said and said.count("\n") == 1, said
    assert "is a " in said or "found " in said
    assert contents(project) == before and not Path("nowhere").exists()


@pytest.mark.parametrize("stage", [stage for stage in COMMANDS if stage not in (*WRITTEN, "import-weights")])
@pytest.mark.parametrize("where", ["below a file", "a long name"])
def test_a_name_that_the_system_refuses_is_one_message(project, command, stage, where):
    output = PREDICTIONS / "new" if where == "below a file" else Path("a" * 300)
    before = contents(project)
    code, said = command(stage, output)
    assert code == 2 and said.splitlines()[-1].startswith("error: "), said
    assert ("Not a directory" in said or "File exists" in said) == (where == "below a file")
    assert contents(project) == before


@pytest.mark.parametrize("stage", ["generate", "prepare", "train", "predict", "evaluate", "complexity", "tables"])
def test_a_full_disk_is_one_message_with_its_exit_code(project, command, stage):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = contents(project)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        code, said = command(stage, "new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 5 and "no space left to write" in said and "a file" not in said, said
    assert "Free space or raise the quota, then run the same command again" in said
    left = contents(project).keys() - before.keys()
    assert not [name for name in left if not name.endswith((".lock", "log.jsonl"))]
