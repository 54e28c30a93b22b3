"""README and documentation: links lead to files, commands exist, and the README stays short."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel

from mssts.cli import app
from mssts.config import Config, Study, Variant
from mssts.study.workflow import Options

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md")), ROOT / "workflow/profiles/README.md"]
LONGEST_README = 150
LONGEST_PARAGRAPH = 5
LONGEST_LINE = 110

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_CODE_SPAN = re.compile(r"`([^`\n]+)`")
_COMMAND = re.compile(r"(?<![\w./-])(?:mssts|make)(?= [a-z])[^#\n|]*")
_CONFIG_KEYS = re.compile(r"--config ((?:[a-z]+=\S+ ?)+)")


def code(text: str) -> list[str]:
    """Lines of the fenced blocks of a page, and its code spans."""
    fenced = [line for block in _FENCED.findall(text) for line in block.splitlines()[1:-1]]
    return fenced + _CODE_SPAN.findall(_FENCED.sub("", text))


def commands(text: str) -> list[str]:
    """Calls of `mssts` and of make in the code of a page, without what follows a pipe or begins a comment."""
    return [found.strip() for line in code(text) for found in _COMMAND.findall(line)]


def without_code(text: str) -> str:
    return _CODE_SPAN.sub("", _FENCED.sub("", text))


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def problem_of_mssts(words: list[str]) -> str | None:
    """What is wrong with a call of `mssts`, given its words; None if nothing is."""
    command = typer.main.get_command(app)
    for word in words[1:]:
        subcommands = getattr(command, "commands", None)
        if subcommands is None:
            break
        if word not in subcommands:
            return f"{word} is none of {', '.join(subcommands)}"
        command = subcommands[word]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    unknown = [word for word in words if word.startswith("--") and word.split("=")[0] not in known]
    return f"unknown option {unknown[0]}" if unknown else None


@pytest.fixture(scope="module")
def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    wrong = []
    for link in _LINK.findall(without_code(page.read_text(encoding="utf-8"))):
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if "://" in link:
            continue
        if not target.is_file() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_named_command_exists(page: Path, make_targets: set[str]) -> None:
    wrong = []
    for call in commands(page.read_text(encoding="utf-8")):
        program, *arguments = call.split()
        problem = problem_of_mssts([program, *arguments]) if program == "mssts" else None
        if program == "make" and arguments[0] not in make_targets:
            problem = f"{arguments[0]} is no target"
        if problem:
            wrong.append(f"{call}: {problem}")
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_named_workflow_option_is_read(page: Path) -> None:
    named = {
        pair.split("=")[0]
        for line in code(page.read_text(encoding="utf-8"))
        for pairs in _CONFIG_KEYS.findall(line)
        for pair in pairs.split()
    }
    assert named - {field.alias or name for name, field in Options.model_fields.items()} == set()


def test_readme_and_its_paragraphs_are_short() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_README
    paragraphs = re.split(r"\n\s*\n|\n(?=\d\. |- )", _FENCED.sub("", text))
    long = [one for one in paragraphs if len(one.strip().splitlines()) > LONGEST_PARAGRAPH and "|---" not in one]
    assert long == []
    prose = [line for line in _FENCED.sub("", text).splitlines() if not line.startswith("|")]
    assert [line for line in prose if len(line) > LONGEST_LINE] == []


def test_every_study_is_described_in_the_documentation() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    studies = [path.stem for path in (ROOT / "ablations/studies").glob("*.yaml")]
    assert [name for name in studies if f"`{name}`" not in text] == []


def sections_of(section: type[BaseModel]) -> list[type[BaseModel]]:
    """A section of the configuration and all sections in it."""
    inner = [field.annotation for field in section.model_fields.values()]
    nested = [one for one in inner if isinstance(one, type) and issubclass(one, BaseModel)]
    return [section, *(deeper for one in nested for deeper in sections_of(one))]


@pytest.mark.parametrize("top", [Config, Study, Variant])
def test_every_key_of_the_configuration_has_a_description(top: type[BaseModel]) -> None:
    without = [
        f"{section.__name__}.{name}"
        for section in sections_of(top)
        for name, field in section.model_fields.items()
        if not field.description
        and not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel))
    ]
    assert without == []


def test_every_package_has_a_page_in_the_reference() -> None:
    packages = {path.parent.name for path in (ROOT / "mssts").glob("*/__init__.py")}
    assert packages <= {path.stem for path in (ROOT / "docs/api").glob("*.rst")}
