"""Free text appears literally in every format: titles, questions and the names in a user's files are data."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import yaml
from markdown_it import MarkdownIt
from matplotlib.text import Text

from mssts.core.errors import InputError, printable
from mssts.evaluation.matching import AREA_RANGES, ATTRIBUTE_VIEW
from mssts.report.document import report_data, write_document
from mssts.report.figures.training_curves import read_logs, training_figure
from mssts.report.formats import escape_latex, escape_markdown, markdown, plain
from mssts.report.parts import Sentences
from mssts.report.style import paper_style, save
from mssts.report.tables import write_tables
from mssts.study.complexity import write_complexity
from mssts.study.complexity_file import FILE
from mssts.study.resolve import load_study
from tests.report import fake_runs
from tests.report.fake_runs import runs_of

TEXTS = [
    *("<script>alert(1)</script>", "<b>", "a|b|c", "`code`", "``a`b``", "*a* **b**", "_a_ __b__ a_b_c _", "~~a~~ ~a~"),
    *("[a](http://b)", "[a][b]", "[a]: http://b", "![a](b)", "<http://a>", "$x^2$ $$y$$", "&lt; &amp; &#65; a & b"),
    *("# a", "###### a", "- a", "+ a", "* a", "1. a", "12) a", "> a", "---", "===", "a\nb", "a\n\nb", "[", "*", "_"),
    *("\\", "\\\\", "a\\", "\\|", "\\input{a}", "{a} }{ %a", "100 % ~ ^ # & _", "a--b---c", "[a] * [b]", '"a"', "it's"),
    *(
        "#panic()",
        "@ref",
        "= a",
        "$ x $",
        "#import a",
        "{x} {{ %s",
        "=1+1",
        "-2+3",
        "not run",
        "$(a) `a`",
        "  a  b ",
        "",
    ),
    *("a\r\nb", "a\u2028b", "\x1b[31ma\x07", "\u202ea", "“a” ± \N{MINUS SIGN}Δ é"),
]


def literal(text: str) -> str:
    return printable(" ".join(text.split()))


def inline_text(tokens) -> str:
    """Text of inline tokens, none of which may be markup."""
    assert {token.type for token in tokens} <= {"text", "text_special"}, tokens
    return "".join(token.content for token in tokens)


@pytest.fixture(scope="module")
def reader() -> MarkdownIt:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"])


@pytest.mark.parametrize("text", TEXTS, ids=repr)
def test_markdown_shows_a_cell_a_list_item_and_a_paragraph_literally(reader, text):
    table = reader.parse(markdown(pd.DataFrame([["x", text], [text, "y"]], columns=["a", text])))
    cells = [inline_text(token.children) for token in table if token.type == "inline"]
    assert cells == ["a", literal(text), "x", literal(text), literal(text), "y"]
    if literal(text) not in ("", "---", "===", "*"):
        [item] = [token for token in reader.parse(Sentences("", [text]).markdown()) if token.type == "inline"]
        assert inline_text(item.children) == literal(text)
        shown = [token.type for token in reader.parse(escape_markdown(text))]
        assert shown == ["paragraph_open", "inline", "paragraph_close"]


@pytest.mark.parametrize("text", TEXTS, ids=repr)
def test_no_markup_stands_raw_in_markdown(text):
    escaped = escape_markdown(text)
    assert not re.search(r"[<>\n\r\x00-\x1f]", escaped)
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`$*]", escaped)


COMMANDS = {
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\textbar{}": "|",
    r"\textless{}": "<",
    r"\textgreater{}": ">",
    r"\textasciigrave{}": "`",
    r"{\ttfamily\char34}": '"',
    r"$\pm$": "±",
    r"$-$": "\N{MINUS SIGN}",
    r"$\Delta$": "Δ",
    "``": "“",
    "''": "”",
    "-{}": "-",
    "{[}": "[",
    "{*}": "*",
} | {f"\\{character}": character for character in "&%$#_{}"}


@pytest.mark.parametrize("text", TEXTS, ids=repr)
def test_latex_consists_of_plain_characters_and_of_commands_for_single_ones(text):
    escaped = escape_latex(text)
    parts = re.split("(" + "|".join(map(re.escape, COMMANDS)) + ")", escaped)
    assert not any(set(part) & set('\\{}%&$#_^~|<>"\n\r') or "--" in part for part in parts[::2])
    assert "".join(COMMANDS.get(part, part) for part in parts) == literal(text)
    assert not escaped.startswith(("[", "*"))


def test_figures_show_dollars_and_backslashes_as_they_are_and_no_control_characters(tmp_path):
    with paper_style():
        figure, axis = plt.subplots()
        without_control = [text for text in TEXTS if text == printable(text)]  # a title of a study has no others
        axis.set_yticks(range(len(without_control)), without_control)
        for text in TEXTS:
            axis.plot([0], label=text)
        axis.set_title("\\frac{ $")
        figure.legend()
        save(figure, tmp_path / "figure")
    texts = figure.findobj(Text)
    assert not any(text.get_parse_math() for text in texts)
    assert all(text.get_text() == printable(text.get_text()) for text in texts)
    assert {"$x^2$ $$y$$", "\\frac{ $"} <= {text.get_text() for text in texts}


@pytest.mark.filterwarnings("ignore:Glyph .* missing")
def test_a_study_of_any_text_gives_its_whole_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    everything = "\n".join(TEXTS)
    challenge = f"Dataset {everything}"
    views = (*AREA_RANGES, *(f"{ATTRIBUTE_VIEW}{name}" for name in ("Dataset", challenge, "=1+1", "occlusion")))
    monkeypatch.setattr(fake_runs, "VIEWS", views)
    fake_runs.write_ablations(tmp_path)
    study = tmp_path / "ablations/studies/fake.yaml"
    texts = dict.fromkeys(("question", "expect", "cost"), re.sub(r"[\x1b\x07\r]", "", everything))
    smaller = {"splits": ["valid"], "variants": ["baseline", "ms_sts"]}
    study.write_text(yaml.safe_dump(yaml.safe_load(study.read_text()) | texts | smaller))
    title = "$x^2$ #panic() @ref <b> _a_ |"
    variant = tmp_path / "ablations/variants/ms_sts.yaml"
    variant.write_text(yaml.safe_dump(yaml.safe_load(variant.read_text()) | {"title": title}))
    fake_runs.write_run("pretrain", 1, {"valid": 1})
    for name, found in (("baseline", 2), ("ms_sts", 6)):
        fake_runs.write_run(name, 1, {"valid": found})
    write_tables(runs_of())
    write_complexity(load_study("fake"), tmp_path / "reports/fake" / FILE)
    write_document(runs_of(), tmp_path / "table.pdf")
    assert (tmp_path / "table.pdf").read_bytes().startswith(b"%PDF")
    data = report_data(runs_of())
    assert data["question"] == printable(texts["question"]) and plain(data) == data
    table = (tmp_path / "reports/fake/table.md").read_text()
    assert f" {escape_markdown(title)} " in table and "<" not in table
    heading = (tmp_path / "reports/fake/attributes.md").read_text().splitlines()[0]
    assert "Dataset (challenge)" in heading and escape_markdown(challenge) in heading
    labels = [line.get_label() for line in training_figure(runs_of(), read_logs(runs_of())).axes[0].get_lines()]
    assert title in labels
    plt.close("all")


def test_messages_steer_no_terminal():
    message = str(InputError("a\x1b[31m \x07 \r \x00 \x9b \u202e \ud800 \u2028 é\n\tb"))
    assert message == r"a\x1b[31m \x07 \r \x00 \x9b \u202e \ud800 \u2028 é" + "\n\tb"
    message.encode()
