"""The wheel: what it holds, what it records of itself, and that it works outside a clone."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from mssts import __version__
from mssts.core.errors import InputError
from mssts.core.workspace import FILES
from mssts.study.resolve import load_study
from mssts.study.workspace import write_workspace

SOURCES = ("LICENSE", "README.md", "pyproject.toml", "setup.py")


def tracked(root: Path, *parts: str) -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z", *parts], cwd=root, check=True, capture_output=True, text=True)
    return listed.stdout.split("\0")[:-1]


@pytest.fixture(scope="module")
def wheel(root, tmp_path_factory) -> Path:
    """A wheel built from the tracked files of the clone."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in tracked(root, "mssts", *FILES, *SOURCES):
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "source" / name).write_bytes((root / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w"]
    run = subprocess.run([*command, folder, folder / "source"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture
def installed(wheel, tmp_path) -> Path:
    """A folder with the content of the wheel, as pip would unpack it."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    return tmp_path / "installed"


def python(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=installed.parent, env=environment, capture_output=True, text=True)


def commit(installed: Path) -> str:
    run = python(installed, "-c", "from mssts.core.provenance import commit; print(commit())")
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_the_wheel_has_every_file_of_the_package_and_of_a_workspace(root, wheel):
    package = {name for name in tracked(root, "mssts") if not name.endswith(".c")}
    workspace = {f"mssts/workspace/{name}" for name in tracked(root, *FILES)}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith("mssts/") and not name.endswith(".so")}
    assert names == package | workspace
    assert "mssts/py.typed" in names


def test_an_installed_wheel_is_recorded_by_its_version_and_the_digest_of_its_files(installed):
    (record,) = installed.glob("*.dist-info/RECORD")
    rows = [line.rsplit(",", 2) for line in record.read_text().splitlines() if line.startswith("mssts/")]
    listed = "".join(sorted(f"{name} {value.removeprefix('sha256=')}\n" for name, value, _ in rows))
    assert commit(installed) == f"wheel {__version__} {hashlib.sha256(listed.encode()).hexdigest()[:12]}"


def test_a_changed_file_of_an_installed_wheel_is_recorded(installed):
    before = commit(installed)
    with (installed / "mssts/config.py").open("a") as file:
        file.write("\n")
    assert commit(installed) == before + "+changed"


def test_the_version_is_printed(installed):
    run = python(installed, "-m", "mssts", "--version")
    assert (run.returncode, run.stdout) == (0, f"mssts {__version__}\n"), run.stderr


def test_the_citation_is_that_of_this_version(root):
    assert yaml.safe_load((root / "CITATION.cff").read_text())["version"] == __version__


def test_a_workspace_has_the_files_of_the_clone(root, tmp_path):
    write_workspace(tmp_path / "mine")
    written = {path.relative_to(tmp_path / "mine").as_posix() for path in (tmp_path / "mine").rglob("*")}
    assert set(tracked(root, *FILES)) <= written
    assert (tmp_path / "mine/Snakefile").read_bytes() == (root / "Snakefile").read_bytes()


def test_a_workspace_replaces_no_file(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="expected a new or an empty folder"):
        write_workspace(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_without_configurations_the_message_says_where_to_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="run mssts in a clone, or in a workspace of `mssts init`"):
        load_study("smoke")


def test_a_missing_package_is_named_with_the_extras_that_install_it(root, installed):
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra in ("train", "report", "mlflow"):
        modules = [re.split("[<>=]", requirement)[0].replace("-", "_") for requirement in extras[extra]]
        code = (
            "from mssts.core.extras import missing_extra\n"
            f"for name in {modules}: print(missing_extra(ModuleNotFoundError(name=f'{{name}}.part')))"
        )
        messages = python(installed, "-c", code).stdout.splitlines()
        for module, message in zip(modules, messages, strict=True):
            assert message.startswith(f"{module}: found no such package")
            assert f"pip install 'mssts[{extra}]'" in message


class Environment:
    """An environment of its own with the wheel and what it requires with some extras; nothing else can be imported.

    The packages are links to those of this environment: nothing is downloaded.
    """

    def __init__(self, folder: Path, installed: Path, extras: set[str]) -> None:
        self.folder = folder
        self._python = folder / "venv/bin/python"
        self._packages = installed
        venv.create(folder / "venv")
        (record,) = installed.glob("*.dist-info")
        self._add(metadata.Distribution.at(record), extras, set())

    def _add(self, distribution: metadata.Distribution, extras: set[str], done: set[tuple[str, str]]) -> None:
        for name in {file.parts[0] for file in distribution.files or ()} - {".."}:
            link = self._packages / name
            if not link.exists():
                link.symlink_to(str(distribution.locate_file(name)))
        for requirement in map(Requirement, distribution.requires or ()):
            for extra in extras or {""}:
                marker, key = requirement.marker, (requirement.name, str(requirement.extras))
                if key not in done and (marker is None or marker.evaluate({"extra": extra})):
                    done.add(key)
                    self._add(metadata.distribution(requirement.name), requirement.extras, done)

    def python(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {"PYTHONPATH": str(self._packages), "MSSTS_MLFLOW": "off", "OMP_NUM_THREADS": "1"}
        command = [self._python, *arguments]
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)

    def mssts(self, *arguments: str | Path) -> None:
        run = self.python("-m", "mssts", *arguments)
        assert run.returncode == 0, run.stderr[-4000:]

    def refused(self, *arguments: str | Path) -> str:
        """The message of a command that must fail."""
        run = self.python("-m", "mssts", *arguments)
        assert run.returncode == 2, run.stderr[-4000:]
        return run.stderr


def missing(package: str, extra: str) -> str:
    return f"error: {package}: found no such package, which is needed here: pip install 'mssts[{extra}]'\n"


@pytest.mark.long
def test_an_installation_without_extras_evaluates_and_names_the_extra_for_the_rest(root, installed, tmp_path):
    light = Environment(tmp_path, installed, set())
    heavy = ("lightning_fabric", "matplotlib", "mlflow", "pandas", "scipy", "snakemake", "torch", "typst")
    found = light.python("-c", f"import importlib.util as u; print([name for name in {heavy} if u.find_spec(name)])")
    assert found.stdout == "[]\n"

    data = root / "tests/evaluation/data"
    truth, predictions = data / "evaluation_small.gt.json", data / "evaluation_small.predictions.json"
    light.mssts("evaluate", "--annotations", truth, "--predictions", predictions, "--output", "metrics.json")
    assert json.loads((tmp_path / "metrics.json").read_text())["overall"]["AP"] > 0
    light.mssts("convert", truth, "--to=coco-video", "--output=converted")
    light.mssts("init", "study")
    (tmp_path / "ytvis2019").mkdir()
    assert "train.json (annotation file)" in light.refused("prepare", "--dataset=ytvis2019", "--data=ytvis2019")
    (tmp_path / "results.json").write_text("[]")
    assert "valid.json (annotation file)" in light.refused("check-submission", "results.json", "--data=ytvis2019")
    assert light.refused("import-weights", "public.pth", "--output=ours.pt") == missing("torch", "train")
    in_python = light.python("-c", "import mssts; mssts.load_model('checkpoint.pt')").stderr
    assert in_python.endswith(missing("torch", "train").replace("error: ", "mssts.core.errors.InputError: "))


@pytest.mark.long
def test_the_extra_for_training_alone_trains_predicts_and_evaluates(root, installed, tmp_path):
    shutil.copytree(root / "ablations", tmp_path / "ablations")
    environment = Environment(tmp_path, installed, {"train"})
    study, data = "--study=smoke", "--data=data"
    environment.mssts("generate", study, "--dataset=synthvis", "--output=data")
    environment.mssts("pretrain", study, "--dataset=synthvis", "--backbone=tiny", "--seed=1", data, "--output=run")
    given = ("--checkpoint=run/checkpoint.pt", data, "--dataset=synthvis", "--split=valid")
    environment.mssts("predict", study, *given, "--output=run/predictions.json")
    files = ("--annotations=data/valid.json", "--predictions=run/predictions.json", "--output=run/metrics.json")
    environment.mssts("evaluate", *files)
    assert environment.refused("tables", study) == missing("pandas", "report")


@pytest.mark.long
def test_a_report_without_the_packages_of_its_figures_is_refused(root, installed, tmp_path):
    write_workspace(tmp_path / "mine")
    environment = Environment(tmp_path / "mine", installed, {"report"})
    assert environment.refused("figures", "--study=smoke").endswith(missing("torch", "train"))


@pytest.mark.long
def test_a_study_runs_from_the_wheel_in_a_new_workspace(wheel, tmp_path):
    target = tmp_path / "packages"
    command = ["install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel]
    subprocess.run([sys.executable, "-m", "pip", *command], check=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MSSTS_", "MLFLOW_"))}
    environment["PYTHONPATH"] = str(target)

    def run(folder: Path, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *arguments], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-8000:]
        return done.stdout + done.stderr

    run(tmp_path, "mssts", "init", "mine")
    snakemake = ("snakemake", "--cores", "2", "--config", "study=smoke")
    run(tmp_path / "mine", *snakemake)
    assert (tmp_path / "mine/reports/table.pdf").read_bytes().startswith(b"%PDF-")
    records = (tmp_path / "mine/results").rglob("run.json")
    commits = {json.loads(record.read_text())["commit"] for record in records}
    assert len(commits) == 1 and commits.pop().startswith(f"wheel {__version__} ")
    assert "Nothing to be done" in run(tmp_path / "mine", *snakemake)
    (target / "mssts/report/formats.py").open("a").write("\n")
    assert "tables" in run(tmp_path / "mine", *snakemake, "--dry-run")
