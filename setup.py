"""Puts the files of a workspace into the wheel and the source distribution. All else is in pyproject.toml."""

import runpy
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

WORKSPACE = runpy.run_path("mssts/core/workspace.py")


class BuildWithWorkspace(build_py):
    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        folder = Path(self.build_lib, "mssts", WORKSPACE["FOLDER"])
        shutil.rmtree(folder, ignore_errors=True)
        for source in _files():
            target = folder / source
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)

    def get_source_files(self) -> list[str]:
        return super().get_source_files() + _files()


def _files() -> list[str]:
    found = [path for name in WORKSPACE["FILES"] for path in [Path(name), *Path(name).rglob("*")]]
    return sorted(path.as_posix() for path in found if path.is_file() and "__pycache__" not in path.parts)


setup(cmdclass={"build_py": BuildWithWorkspace})
