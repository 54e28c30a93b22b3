"""YAML files: what a reader could take for something else is refused with its line; the rest is read as it stands."""

from __future__ import annotations

import os
import time

import pytest

from mssts.core.errors import InputError
from mssts.core.yaml_files import MAX_BYTES, MAX_DEPTH, read_yaml

BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n"
DEEP = "a: " + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)


def message(tmp_path, content: str | bytes) -> str:
    path = tmp_path / "file.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).count("\n") == 0
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("a: 1\nb: 2\na: 3\n", "key 'a': found in lines 1 and 3; keep one"),
        ("a:\n  b: {c: 1, c: 1}\n", "key 'c': found in lines 2 and 2; keep one"),
        ('a: 1\n"a": 3\n', "key 'a': found in lines 1 and 2"),
        ("a: 1\n2: b\n", "key 2: is no text; put it in quotes (line 2, column 1)"),
        ("a: 1\ntrue: b\n", "key True: is no text"),
        ("a: 1\n~: b\n", "key None: is no text"),
        ("? [a]\n: b\n", "key ['a']: is no text"),
        ("? {a: 1}\n: b\n", "key {'a': 1}: is no text"),
        (BOMB, "anchor 'a': write the value itself (line 1, column 4)"),
        ("a: *b\n", "anchor 'b': write the value itself"),
        ("a: &b {c: 1}\nd:\n  <<: *b\n", "anchor 'b'"),
        ("a: !!python/object/apply:os.system [x]\n", "tag 'tag:yaml.org,2002:python/object/apply:os.system'"),
        ("a: !!timestamp 2024-01-01\n", "tag 'tag:yaml.org,2002:timestamp'"),
        ("a: !own b\n", "tag '!own'"),
        (DEEP, f"nested more than {MAX_DEPTH} levels deep"),
        ("a: " + "[" * 100_000, f"nested more than {MAX_DEPTH} levels deep"),
        ("a: " + "{a: " * 30_000, f"nested more than {MAX_DEPTH} levels deep"),
        ("a: " + "9" * 5000, "a number of 5000 characters"),
        ("a: 1e400\n", "1e400: too large for a number"),
        ('a: "b\\0c"\n', "control character U+0000 in a text (line 1, column 4)"),
        ('a: "\\e[31mred"\n', "control character U+001B in a text"),
        ('a: "\\ud800"\n', "control character U+D800 in a text"),
        ('"a\\x07": b\n', "control character U+0007 in a text"),
        ("a: b\x00c\n", "not valid YAML: unacceptable character #x0000"),
        ("a: b\x1b[31m\n", "not valid YAML: unacceptable character #x001b"),
        ("a: 1\n---\na: 2\n", "expected a single document in the stream, but found another document (line 2"),
        ("a:\n\tb: 1\n", "found character '\\t' that cannot start any token (line 2"),
        ("a: [1\n", "(line 2"),
        ("a: 'b\n", "(line 2"),
        ("a: 1\n b: 2\n", "mapping values are not allowed here (line 2"),
        ("a: 1".encode("utf-16"), "no UTF-8 text at byte 0; save it as UTF-8"),
        ("a: 1".encode("utf-32"), "no UTF-8 text at byte 0"),
        (b"a: \xe4\n", "no UTF-8 text at byte 3"),
        (b"a: 1\n#" + b" " * MAX_BYTES, "found more than 128 KiB"),
        ("", "expected a mapping of keys to values, found NoneType"),
        ("- a\n", "expected a mapping of keys to values, found list"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_could_be_misread_is_refused_with_its_line(tmp_path, content, complaint):
    assert complaint in message(tmp_path, content)


@pytest.mark.parametrize("word", ["1:30", "1:30:00", "010", "0o17", "0x1f", "1_000", "2024-01-01", "+-1", "1e", "="])
@pytest.mark.parametrize("place", ["a: {}", "a: [{}]", "{}: 1"])
def test_numbers_of_old_yaml_are_text(tmp_path, word, place):
    (tmp_path / "file.yaml").write_text(place.format(word))
    assert (
        read_yaml(tmp_path / "file.yaml") == {"a: {}": {"a": word}, "a: [{}]": {"a": [word]}, "{}: 1": {word: 1}}[place]
    )


@pytest.mark.parametrize("word", ["no", "No", "NO", "off", "Off", "on", "yes", "y", "n", "tRue", "nil", "none", "<<"])
def test_booleans_of_old_yaml_are_text(tmp_path, word):
    (tmp_path / "file.yaml").write_text(f"{word}: {word}")
    assert read_yaml(tmp_path / "file.yaml") == {word: word}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("~", None), ("null", None), ("", None), ("true", True), ("FALSE", False), ("0", 0), ("-12", -12), ("+3", 3)),
        *(("1.5", 1.5), ("1.", 1.0), (".5", 0.5), ("1e-4", 1e-4), ("1.0e+3", 1000.0), ("-2E2", -200.0)),
        *(("'1'", "1"), ('"true"', "true"), ('"a\\tb"', "a\tb"), ('"a\\nb"', "a\nb"), ("é 中 😀", "é 中 😀")),
        *(("{}", {}), ("[]", []), ("[1, [2]]", [1, [2]]), ("{b: {c: 1}}", {"b": {"c": 1}}), ("|\n  b\n  c", "b\nc")),
        *((".inf", float("inf")), ("01.5", "01.5")),
    ],
)
def test_plain_values_are_read_as_yaml_1_2_defines_them(tmp_path, text, value):
    (tmp_path / "file.yaml").write_text(f"a: {text}", encoding="utf-8")
    content = read_yaml(tmp_path / "file.yaml")
    assert content == {"a": value} and type(content["a"]) is type(value)


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "file.yaml").write_bytes("a: é\n".encode("utf-8-sig"))
    assert read_yaml(tmp_path / "file.yaml") == {"a": "é"}


def test_only_a_regular_file_is_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(InputError, match=rf"{name}\.yaml: is no regular file"):
            read_yaml(tmp_path / f"{name}.yaml")


def test_a_missing_file_is_named_with_those_that_are_there(tmp_path):
    (tmp_path / "smoke.yaml").touch()
    with pytest.raises(InputError, match=r"smok\.yaml: no such file\. Available: smoke\. Did you mean 'smoke'\?"):
        read_yaml(tmp_path / "smok.yaml")


def test_the_largest_file_takes_seconds(tmp_path):
    line = "key{}: [1, 2.5, text, {{a: b}}]\n"
    lines = "".join(line.format(n) for n in range(MAX_BYTES // 40))
    (tmp_path / "file.yaml").write_text(lines[:MAX_BYTES].rpartition("\n")[0])
    started = time.process_time()
    read_yaml(tmp_path / "file.yaml")
    assert time.process_time() - started < 10
