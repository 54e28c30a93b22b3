"""The command line: quick to answer, bad input in one line, an interrupt without a stack trace."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from mssts import cli
from mssts.core.errors import InputError
from tests.data.test_training import write_coco

HEAVY = ("torch", "mlflow", "transformers", "timm", "pandas", "matplotlib", "scipy")


def mssts(root, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "mssts", *arguments], cwd=root, capture_output=True, text=True)


def test_help_lists_every_stage_and_imports_nothing_heavy(root):
    code = f"""
import sys
sys.argv = ["mssts", "--help"]
from mssts import cli
try:
    cli.main()
except SystemExit as end:
    assert end.code == 0, end.code
print("heavy:", [name for name in {HEAVY} if name in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "heavy: []" in run.stdout
    stages = "generate pretrain train predict evaluate complexity tables figures attention document html"
    for stage in stages.split():
        assert f"\n  {stage} " in run.stdout


def test_help_answers_at_once(root):
    """Counted in seconds of processor time: a busy machine does not make it slower."""

    def seconds() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    started = seconds()
    assert mssts(root, "--help").returncode == 0
    assert seconds() - started < 0.7


@pytest.mark.parametrize("stage", ["tables", "figures", "attention"])
def test_bad_input_is_one_message_and_exit_code_2(root, stage):
    run = mssts(root, stage, "--study", "nope")
    assert run.returncode == 2
    assert run.stderr.startswith("error: ablations/studies/nope.yaml: no such file")
    assert "Traceback" not in run.stderr


def test_mlflow_does_not_start_for_an_unknown_study(root, tmp_path):
    (tmp_path / "ablations").symlink_to(root / "ablations")
    run = mssts(tmp_path, "mlflow", "init", "--study", "nope")
    assert run.returncode == 2
    assert not (tmp_path / "mlruns").exists()


def test_a_plan_without_a_known_study_is_refused(root):
    run = mssts(root, "plan")
    assert run.returncode == 2 and "Missing argument" in run.stderr
    assert "nope.yaml: no such file" in mssts(root, "plan", "nope").stderr


def test_a_missing_option_is_named(root):
    run = mssts(root, "generate", "--study", "smoke")
    assert run.returncode == 2
    assert "--dataset" in run.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("predict clip.mp4 --checkpoint c.pt --output o --split valid", "found a source and --split; expected one or"),
        (
            "predict --study smoke --data d --dataset synthvis --split valid --checkpoint c --output o --device cuda",
            "found a dataset and --device, which is for a video or a folder of images",
        ),
        (
            "predict --study smoke --data d --dataset synthvis --split valid --checkpoint c.pt --output o --every 1"
            " --min-score 0.3",
            "found a dataset and --every, --min-score, which",
        ),
        ("convert train.json --output mots --to mots --min-score 0.5", "found --min-score without --predictions"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(root, arguments, message):
    run = mssts(root, *arguments.split())
    assert (run.returncode, run.stdout) == (2, "") and message in run.stderr


def test_an_unexpected_error_keeps_its_stack_trace(monkeypatch):
    def fail(**_):
        raise KeyError("a bug")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(KeyError):
        cli.main()


def test_input_errors_of_any_stage_are_caught(monkeypatch, capsys):
    def fail(**_):
        raise InputError("file: found this, expected that")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: file: found this, expected that\n"


def test_an_interrupt_that_a_module_turns_into_another_error_is_an_interrupt(monkeypatch, capsys):
    def fail(**_):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("a compiled module, interrupted while it is imported") from None

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.setattr(os, "_exit", sys.exit)
    try:
        with pytest.raises(SystemExit) as end:
            cli.main()
    finally:
        signal.signal(signal.SIGINT, before)
    assert end.value.code == cli.INTERRUPTED
    assert capsys.readouterr().err == "interrupted\n"


def test_an_interrupt_is_reported_in_one_line(root, tmp_path):
    """A real stage, interrupted while it works."""
    (tmp_path / "ablations").symlink_to(root / "ablations")
    command = [sys.executable, "-m", "mssts", "generate", "--study", "ablation", "--dataset", "synthvis"]
    with subprocess.Popen(
        [*command, "--output", "data"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests run in the background ignore it
    ) as process:
        deadline = time.monotonic() + 60
        while not any(tmp_path.iterdir()) or len(list(tmp_path.iterdir())) < 2:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        text = process.stderr.read()
    assert process.returncode == 130, text
    assert text.strip().splitlines()[-1] == "interrupted"
    assert "Traceback" not in text


def test_preparing_coco_says_how_many_images_it_found(root, tmp_path):
    run = mssts(root, "prepare", "--dataset", "coco", "--data", str(write_coco(tmp_path) / "coco"))
    assert run.returncode == 0, run.stderr
    assert ": 25 images, 24 of them with an object (fingerprint " in run.stdout
