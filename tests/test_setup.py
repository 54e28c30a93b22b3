"""Set-up: all lists of packages agree, and an unsuitable Python gives an error that says what to install."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

HEAVY = {"torch": "2.14.1", "torchvision": "0.29.1"}


PYTHONS = ("3.11.0", "3.11.15", "3.12.4", "3.13.0")


@pytest.fixture(scope="module")
def lock(root) -> dict[Requirement, list[str]]:
    """Pin -> its options, one per file of the package."""
    text = (root / "requirements.lock").read_text().replace("\\\n", "")
    lines = [line.split(" --") for line in text.splitlines() if not line.startswith("#")]
    return {Requirement(pin): [option.strip() for option in options] for pin, *options in lines}


@pytest.fixture(scope="module")
def pins(lock) -> list[Requirement]:
    return list(lock)


@pytest.fixture(scope="module")
def project(root) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


def version(pin: Requirement) -> str:
    (specifier,) = pin.specifier
    assert specifier.operator == "==", f"{pin} is not an exact pin"
    return specifier.version


@pytest.mark.parametrize("python", PYTHONS)
def test_every_package_is_pinned_once_and_from_no_special_place(pins, python):
    machine = {"sys_platform": "linux", "python_version": python.rpartition(".")[0], "python_full_version": python}
    names = [canonicalize_name(pin.name) for pin in pins if pin.marker is None or pin.marker.evaluate(machine)]
    assert len(set(names)) == len(names)
    assert all(version(pin) and not pin.url for pin in pins)


def test_every_pin_has_the_hashes_of_its_files_and_no_other_option(lock):
    for pin, options in lock.items():
        assert options, f"{pin} has no hash"
        assert all(re.fullmatch(r"hash=sha256:[0-9a-f]{64}", option) for option in options), pin


def test_pip_installs_nothing_without_a_hash_but_the_project_itself(root):
    setup = (root / "workflow/setup.sh").read_text()
    locked, editable = (line for line in setup.splitlines() if " -m pip install" in line)
    assert "--require-hashes --requirement requirements.lock" in locked
    assert "--no-deps --no-build-isolation --config-settings editable_mode=compat --editable ." in editable


def test_conda_reads_the_lock(root):
    environment = yaml.safe_load((root / "environment.yml").read_text())
    (listed,) = (part["pip"] for part in environment["dependencies"] if isinstance(part, dict))
    assert listed == ["-r requirements.lock"]


def test_both_container_recipes_install_the_lock_with_the_same_commands(root):
    docker = (root / "container/Dockerfile").read_text()
    apptainer = (root / "container/apptainer.def").read_text()
    runs = re.findall(r"^RUN ((?:.*\\\n)*.*)$", docker, re.M)
    commands = [part.strip(" \\\n") for run in runs for part in run.split("&&")]
    assert commands == [line.strip() for line in apptainer.partition("%post\n")[2].splitlines()]
    source, target = re.search(r"^COPY (\S+) (\S+)$", docker, re.M).groups()
    assert (root / source).is_file() and f"%files\n    {source} {target}\n" in apptainer
    assert commands[-1] == f"pip install --no-cache-dir --require-hashes --requirement {target}"
    assert f"!{source}" in (root / "container/Dockerfile.dockerignore").read_text().split()


def test_the_base_image_of_the_containers_has_a_python_of_the_project(root, project):
    (docker,) = re.findall(
        r"^FROM docker.io/library/python:(\S+)-slim-", (root / "container/Dockerfile").read_text(), re.M
    )
    (apptainer,) = re.findall(r"^From: python:(\S+)-slim-", (root / "container/apptainer.def").read_text(), re.M)
    assert docker == apptainer and docker in SpecifierSet(project["requires-python"])


def test_the_lock_satisfies_the_project(pins, project):
    pinned = {canonicalize_name(pin.name): version(pin) for pin in pins}
    wanted = project["dependencies"] + [line for lines in project["optional-dependencies"].values() for line in lines]
    for line in wanted:
        requirement = Requirement(line)
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, line
    assert {name: pinned[name] for name in HEAVY} == HEAVY


def test_the_environment_is_that_of_the_lock(pins):
    wrong = {}
    for pin in pins:
        if pin.marker is None or pin.marker.evaluate():
            installed = metadata.version(pin.name)
            if installed.split("+")[0] != version(pin).split("+")[0]:
                wrong[pin.name] = installed
    assert not wrong, "run `make setup`"


def test_all_places_agree_on_the_range_of_python(root, project):
    environment = yaml.safe_load((root / "environment.yml").read_text())
    assert project["requires-python"] == ">=3.11,<3.14"
    assert f"python{project['requires-python']}" in environment["dependencies"]
    assert "3.1[1-3]) ;;" in (root / "workflow/setup.sh").read_text()


def test_platform_packages_carry_a_marker(pins):
    for pin in pins:
        if pin.name.startswith(("nvidia-", "cuda-")) or pin.name == "triton":
            assert pin.marker is not None and not pin.marker.evaluate({"sys_platform": "darwin"}), pin


def run_setup(root: Path, tmp_path: Path, python_lines: str) -> subprocess.CompletedProcess[str]:
    """`workflow/setup.sh` in an empty clone, where the only python is a script of these lines."""
    clone = tmp_path / "clone"
    (clone / "workflow").mkdir(parents=True)
    for name in ("workflow/setup.sh", "requirements.lock"):
        (clone / name).write_bytes((root / name).read_bytes())
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("python3", "python3.11", "python3.12", "python3.13"):
        if python_lines:
            (programs / name).write_text(f"#!/bin/bash\n{python_lines}\n")
            (programs / name).chmod(0o755)
    for tool in ("bash", "dirname", "rm", "grep"):
        found = next(Path(part) / tool for part in os.defpath.split(":") if (Path(part) / tool).exists())
        (programs / tool).symlink_to(found)
    return subprocess.run(
        ["bash", str(clone / "workflow/setup.sh")], env={"PATH": str(programs)}, capture_output=True, text=True
    )


def test_too_old_a_python_is_named_with_what_is_needed(root, tmp_path):
    run = run_setup(root, tmp_path, "echo 3.9")
    assert run.returncode != 0
    assert "error: Python 3.11 to 3.13 is needed, found: python3.11 (3.9)" in run.stderr


def test_too_new_a_python_is_refused(root, tmp_path):
    run = run_setup(root, tmp_path, "echo 3.14")
    assert run.returncode != 0
    assert "Python 3.11 to 3.13 is needed" in run.stderr


def test_a_missing_python_is_reported(root, tmp_path):
    run = run_setup(root, tmp_path, "")
    assert run.returncode != 0
    assert "found: none" in run.stderr


def test_a_missing_venv_module_gives_the_line_that_installs_it(root, tmp_path):
    run = run_setup(root, tmp_path, '[[ "$2" != *ensurepip* ]] || exit 1\necho 3.12')
    assert run.returncode != 0
    assert "apt-get install python3.12-venv" in run.stderr


def test_make_alone_explains_itself_and_installs_nothing(root, tmp_path):
    (tmp_path / "Makefile").write_bytes((root / "Makefile").read_bytes())
    run = subprocess.run(["make"], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0
    assert "make report" in run.stdout
    assert "make test" in run.stdout
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize(
    ("first_lines", "made_again"),
    [
        ("#!{here}/.venv/bin/python3.11", False),
        ('#!/bin/sh\n\'\'\'exec\' "{here}/.venv/bin/python" "$0" "$@"', False),  # a path with spaces
        ("#!{here}/../before/.venv/bin/python3.11", True),
        ('#!/bin/sh\n\'\'\'exec\' "{here}/../before/.venv/bin/python" "$0" "$@"', True),
    ],
)
def test_a_moved_or_copied_clone_makes_its_environment_again(root, tmp_path, first_lines, made_again):
    clone = tmp_path / "a clone"
    for folder in (tmp_path / "before/.venv/bin", clone / "workflow", clone / ".venv/bin"):
        folder.mkdir(parents=True)
    (clone / "Makefile").write_bytes((root / "Makefile").read_bytes())
    (clone / "workflow/setup.sh").write_text("#!/bin/sh\nmkdir -p .venv && echo installs\n")
    (clone / "workflow/setup.sh").chmod(0o755)
    (clone / "requirements.lock").touch()
    (clone / "pyproject.toml").touch()
    (clone / ".venv/bin/pip").write_text(first_lines.format(here=clone))
    (clone / ".venv/.installed").touch()
    run = subprocess.run(["make", "setup"], cwd=clone, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert ("installs" in run.stdout) == made_again
    assert (clone / ".venv/bin/pip").exists() != made_again


def test_the_package_is_found_beside_a_clone_of_its_name(root, tmp_path):
    (tmp_path / "mssts").symlink_to(root)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", "import mssts; print(mssts.__file__)"]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.stdout.strip().endswith("mssts/__init__.py"), run.stderr


def test_the_console_command_is_installed():
    run = subprocess.run([str(Path(sys.executable).with_name("mssts")), "--help"], capture_output=True, text=True)
    assert run.returncode == 0, "run `make setup`"
