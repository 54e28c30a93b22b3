"""A small real training with every loss on, to be interrupted in every way."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mssts.config import ABLATIONS, PRETRAIN, pretrain_seed, resolve
from mssts.training import run as stage
from mssts.training.callbacks import Callback
from mssts.training.run import TrainingRun

ROOT = Path(__file__).resolve().parents[2]
VARIANT = "ms_sts_temporal_fgbg"
RUN_FILES = ("checkpoint.pt", "run.json", "log.jsonl")


def pretraining(seed: int = 1) -> TrainingRun:
    """The smoke study's pre-training."""
    return TrainingRun("pretrain", "smoke", "synthvis", "tiny", PRETRAIN, seed, seed, resolve("smoke"))


def training(variant: str = VARIANT, seed: int = 1) -> TrainingRun:
    """The training of a variant at the smoke scale."""
    config = resolve("smoke", variant)
    return TrainingRun("train", "smoke", "synthvis", "tiny", variant, seed, pretrain_seed(config, seed), config)


@pytest.fixture(scope="session")
def data(smoke_data) -> Path:
    """The smoke data set."""
    return smoke_data


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> Path:
    """A directory with `ablations/`, whose smoke scale logs every step and saves every second; MLflow is off."""
    prepare(tmp_path, monkeypatch)
    return tmp_path


def prepare(directory: Path, patch: pytest.MonkeyPatch) -> None:
    """Make a directory a work place."""
    shutil.copytree(ROOT / ABLATIONS, directory / ABLATIONS)
    patch.chdir(directory)
    patch.setenv("MSSTS_MLFLOW", "off")
    set_scale(directory)


def set_scale(directory: Path, execution: str = "{checkpoint_every: 2}", steps: int = 12, more: str = "") -> None:
    """Change what the smoke scale says of execution and length."""
    text = (ROOT / ABLATIONS / "scales/smoke.yaml").read_text()
    text = text.replace("train: {steps: 8,", f"train: {{steps: {steps},").replace("log_every: 2}", "log_every: 3}")
    assert f"steps: {steps}," in text
    (directory / ABLATIONS / "scales/smoke.yaml").write_text(f"{text}execution: {execution}\n{more}")


@pytest.fixture(scope="session")
def pretrained(data, tmp_path_factory) -> Path:
    """A pre-trained checkpoint."""
    output = tmp_path_factory.mktemp("training-start")
    stage.train(pretraining(), data, output)
    return output / "checkpoint.pt"


@pytest.fixture(scope="session")
def whole(data, pretrained, tmp_path_factory) -> dict[str, bytes]:
    """The files of the training that nothing disturbed."""
    directory = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        prepare(directory, patch)
        stage.train(training(), data, directory / "run", pretrained)
    return contents(directory / "run")


@pytest.fixture
def train(data, pretrained, workplace) -> Callable[..., Path]:
    """A function that trains in this process, with callbacks, into a directory of the work place."""

    def run(name: str, *callbacks: Callback) -> Path:
        stage.train(training(), data, workplace / name, pretrained, callbacks)
        return workplace / name

    return run


@pytest.fixture
def command(data, pretrained, workplace) -> Callable[[str], list[str]]:
    """A function that gives the command line of the same training, for a process of its own."""

    def line(name: str) -> list[str]:
        where = ["--data", str(data), "--init", str(pretrained), "--output", str(workplace / name)]
        what = ["--study", "smoke", "--dataset", "synthvis", "--backbone", "tiny", "--variant", VARIANT, "--seed", "1"]
        return [sys.executable, "-m", "mssts", "train", *what, *where]

    return line


@pytest.fixture
def environment() -> dict[str, str]:
    """Variables for processes of their own: the clone's package, one thread."""
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MSSTS_MLFLOW": "off"}


@pytest.fixture
def start(command, environment) -> Callable[[str], subprocess.Popen[str]]:
    """A function that starts the training as a process; it is ended with the test at the latest."""
    started: list[subprocess.Popen[str]] = []

    def run(name: str, **options) -> subprocess.Popen[str]:
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(command(name), env=environment | options.pop("env", {}), **streams, **options)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def wait_for_lines(process: subprocess.Popen[str], log: Path, lines: int, seconds: float = 300) -> None:
    """Until the log has so many lines; fails if the process ends before."""
    end = time.monotonic() + seconds
    while not log.exists() or log.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, process.stderr.read()[-2000:]
        assert time.monotonic() < end, "no progress"
        time.sleep(0.01)


def signal_at_line(log: Path, lines: int, number: signal.Signals) -> threading.Thread:
    """Send this process a signal when the log has so many lines."""

    def watch() -> None:
        end = time.monotonic() + 300
        while time.monotonic() < end:
            if log.exists() and log.read_bytes().count(b"\n") >= lines:
                os.kill(os.getpid(), number)
                return
            time.sleep(0.005)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def contents(directory: Path) -> dict[str, bytes]:
    """The files of a run that must not differ, and no other; without the commit, which may move during the tests."""
    assert {path.name for path in directory.iterdir()} == {*RUN_FILES, "cost.json"}
    files = {name: (directory / name).read_bytes() for name in RUN_FILES}
    files["run.json"] = re.sub(rb'"(commit|record_sha256)": "[^"]*"', b"", files["run.json"])
    return files


@pytest.fixture
def file_size_limit() -> Callable:
    """A context in which no file of this process may grow beyond some bytes: a full disk, without a mount."""

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, handler)

    return limited
