"""Free text and paths of a user are data to the workflow: no shell, no wildcard, no format string reads them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mssts.core.errors import InputError
from mssts.study.resolve import load_study
from mssts.study.workflow import read_options, targets

NASTY = "{x} {wildcards.seed} {{ $HOME $(touch made) `touch made` \" ' ; | & \\ * ? [a] <b> #\n%s é"
BAD_NAMES = ["a; touch made", "../x", "a b", "$(x)", "", "a" * 65, "é", "-n", "_a", "A", "a.yaml", "a/b", "a\n", "*"]
RECORD = """
import json
with open("arguments.jsonl", "a") as file:
    print(json.dumps(sys.argv[1:]), file=file)
"""


def test_text_and_paths_of_a_study_reach_its_jobs_as_they_are(clone, snakemake):
    main, study = clone / "mssts/__main__.py", clone / "ablations/studies/smoke.yaml"
    main.write_text(main.read_text() + RECORD)
    path = 'it\'s [a] *; $(touch made) "file" & `touch made`.json'
    (clone / path).write_text("[]")
    content = yaml.safe_load(study.read_text()) | dict.fromkeys(("question", "cost", "expect"), NASTY)
    study.write_text(yaml.safe_dump(content | {"external": {f"Other {NASTY}": path}}))
    variant = clone / "ablations/variants/ms_sts_temporal_fgbg.yaml"
    texts = dict.fromkeys(("title", "question", "source"), NASTY)
    variant.write_text(yaml.safe_dump(yaml.safe_load(variant.read_text()) | texts))
    run = snakemake(clone, "--cores", "2", "--config", "study=smoke", "mlflow=off")
    assert run.returncode == 0, run.stdout
    calls = [json.loads(line) for line in (clone / "arguments.jsonl").read_text().splitlines()]
    assert {call[0] for call in calls} == {"evaluate", "tables", "figures", "attention", "document", "html"}
    [evaluation] = [call for call in calls if call[0] == "evaluate"]
    assert path in evaluation
    assert not list(clone.rglob("made"))


def test_an_unknown_option_of_the_workflow_is_refused_before_anything_is_planned(clone, snakemake):
    run = snakemake(clone, "-n", "--config", "stuudy=demo", "mlflow=maybe")
    assert run.returncode != 0
    assert "--config: stuudy: unknown key; did you mean 'study'?" in run.stdout
    assert "--config: mlflow: found 'maybe'; expected one of on, off" in run.stdout
    assert "Job stats" not in run.stdout


@pytest.mark.parametrize("value", [*BAD_NAMES, 7, 1.5, True, None, ["demo"], {"a": 1}], ids=repr)
def test_only_a_name_names_a_study(value):
    with pytest.raises(InputError, match=r"^--config: study: found "):
        read_options({"study": value})


@pytest.mark.parametrize("value", ["maybe", "ON", "", "0", 2, None])
def test_only_on_and_off_switch_mlflow(value):
    with pytest.raises(InputError, match=r"^--config: mlflow: found "):
        read_options({"mlflow": value})


def test_options_have_defaults_and_may_be_spelt_as_booleans():
    assert (read_options({}).study, read_options({}).mlflow) == ("demo", "on")
    assert [read_options({"mlflow": value}).mlflow for value in ("on", "off", True, False)] == [
        "on",
        "off",
        True,
        False,
    ]


def test_every_value_in_a_shell_command_is_quoted(root):
    commands = [
        command
        for path in [root / "Snakefile", *(root / "workflow/rules").glob("*.smk")]
        for command in re.findall(r"^    shell:\n((?:        .*\n?)+)", path.read_text(), re.MULTILINE)
    ]
    values = [value for command in commands for value in re.findall(r"\{([^{}]+)\}", command)]
    assert len(commands) >= 10 and len(values) >= 40
    assert [value for value in values if not value.endswith(":q")] == []


def test_no_parameter_of_a_rule_is_free_text_that_snakemake_formats(root):
    for path in (root / "workflow/rules").glob("*.smk"):
        functions = r"literal\(|reads_stage\(|dataset_definition,"
        plain = re.findall(rf"^        (?:reads|content)=(?!{functions}).*", path.read_text(), re.MULTILINE)
        assert plain == []


@pytest.fixture
def make(root, tmp_path):
    """A function that runs a target of the Makefile with a snakemake that only prints its arguments."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "snakemake").write_text(f"#!{sys.executable}\nimport sys\nprint(sys.argv[1:])\n")
    (programs / "python").write_text(
        f'#!/bin/sh\ncase "$*" in *stop-trainings) ;; *) exec {sys.executable} "$@";; esac\n'
    )
    for program in programs.iterdir():
        program.chmod(0o755)
    (programs / "stamp").touch()
    folder = tmp_path / "clone"
    folder.mkdir()
    for part in ("Makefile", "ablations", "mssts", "requirements.lock", "pyproject.toml", "workflow"):
        (folder / part).symlink_to(root / part)

    def run(target: str, **values: str) -> subprocess.CompletedProcess[str]:
        command = ["make", "--no-print-directory", target, f"BIN={programs}", f"STAMP={programs / 'stamp'}"]
        command += [f"{name}={value}" for name, value in values.items()]
        return subprocess.run(
            command, cwd=folder, text=True, capture_output=True, env=os.environ | {"LC_ALL": "C.UTF-8"}
        )

    return run


@pytest.mark.long
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("target", ["report", "after-crash"])
def test_make_passes_the_name_of_a_study_on_as_it_is(make, tmp_path, target):
    for name in ("$(shell touch made)", "$(x) $x", "a; touch made", "`touch made`", '"', "a b", ""):
        run = make(target, STUDY=name, CORES=name)
        first = run.stdout.splitlines()[0]
        assert f"'--cores', {name!r}," in first, run.stderr
        assert repr(f"study={name}") in first
    assert not list(tmp_path.rglob("made"))


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_report_names_the_results_that_the_study_has(make):
    assert "Results: reports/table.pdf reports/smoke/html\n" in make("report", STUDY="smoke").stdout
    official = make("report", STUDY="paper-2019-official").stdout
    assert "table.pdf" not in official
    assert "Results: results/paper-2019-official/ytvis2019/resnet50/baseline/seed1/valid/predictions.zip " in official


def test_the_targets_of_a_study_are_its_report_and_its_submissions(root):
    both = load_study("smoke", root / "ablations")
    assert targets(both) == [Path("reports/table.pdf"), Path("reports/smoke/html")]
    zips = targets(load_study("paper-2019-official", root / "ablations"))
    assert len(zips) == 6 and {path.name for path in zips} == {"predictions.zip"}
