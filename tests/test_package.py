"""The wheel: what it holds, what it records of itself, and that it works outside a clone."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mssts import __version__
from mssts.core.workspace import FILES

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
