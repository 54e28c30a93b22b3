"""The compiled reader of masks beside the one with numpy, which says what is right."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from mssts.ytvis import masks as reader

ROOT = Path(__file__).parents[2]
INSTALLED = any(importlib.metadata.distributions(name="mssts"))
CAN_COMPILE = shutil.which("cc") and Path(sysconfig.get_path("include"), "Python.h").exists()
needs_compiled = pytest.mark.skipif(reader._compiled is None, reason="mssts is not installed, or without a C compiler")


def assert_same(found, expected):
    for name in ("areas_T", "present_T", "top_TX", "bottom_TX", "extra_4N"):
        one, other = getattr(found, name), getattr(expected, name)
        assert one.dtype == other.dtype and one.shape == other.shape, name
        np.testing.assert_array_equal(one, other, err_msg=name)
    assert (found.left, found.size, found.irregular) == (expected.left, expected.size, None)


def read_both(frames, height, width):
    return reader._read_compiled(frames, height, width), reader._read_with_numpy(frames, height, width)


@st.composite
def plain_masks(draw):
    """Runs that cover a small frame, zero-length runs and runs over the borders of columns among them."""
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    frames = []
    for _ in range(draw(st.integers(1, 4))):
        borders = draw(st.lists(st.integers(0, height * width), max_size=12))
        runs = np.diff([0, *sorted(borders), height * width]).tolist()
        frames.append(draw(st.sampled_from([None, runs, runs])))
    return height, width, frames


def compressed(runs):
    """As the format is defined: differences to the run two places before from the fourth on, in digits of five bits."""
    text = ""
    for n, run in enumerate(runs):
        number = run - runs[n - 2] if n > 2 else run
        while True:
            digit, number = number & 31, number >> 5
            ends = number == (-1 if digit & 16 else 0)
            text += chr(48 + digit + (0 if ends else 32))
            if ends:
                break
    return text


def as_bytes(runs):
    return compressed(runs).encode()


def dense_text(runs):
    return memoryview(json.dumps(runs, separators=(",", ":")).encode())[:-1]


def loose_text(runs):
    return memoryview(json.dumps(runs).encode())[:-1]


@needs_compiled
@given(plain_masks(), st.sampled_from([compressed, as_bytes, dense_text, loose_text]))
def test_the_compiled_reader_finds_the_masks_that_numpy_finds(drawn, encode):
    height, width, frames = drawn
    masks = [None if runs is None else {"size": [height, width], "counts": encode(runs)} for runs in frames]
    found, expected = read_both(masks, height, width)
    assert_same(found, expected)


@needs_compiled
@pytest.mark.parametrize("height", [720, 2**15 - 1, 2**15, 40_000])
def test_rows_of_tall_frames_do_not_overflow(height):
    rng = np.random.default_rng(height)
    drawn = (rng.random((3, height, 5)) < [[[0.1]], [[0.5]], [[0.9]]]).astype(np.uint8)
    masks = [coco_mask.encode(np.asfortranarray(mask)) for mask in drawn]
    assert_same(*read_both(masks, height, 5))


@needs_compiled
@settings(max_examples=500)
@given(st.text(alphabet=[chr(code) for code in (*range(44, 116), 0, 127, 200, 0xD800, 0x20AC)], max_size=12))
def test_the_compiled_reader_accepts_no_counts_that_numpy_refuses(text):
    raw = text.encode("utf-8", "replace")
    for counts in (text, raw, memoryview(b"[" + raw)):
        found, expected = read_both([{"size": [3, 4], "counts": counts}], 3, 4)
        if found is not None:
            assert_same(found, expected)
        elif not isinstance(counts, memoryview):
            assert expected is None


@needs_compiled
@pytest.mark.parametrize(
    "mask",
    [
        *([], 7, "04;", {}, {"size": [3, 4]}, {"counts": "04;"}, {"size": [4, 3], "counts": "04;"}),
        *({"size": 12, "counts": "04;"}, {"size": [3], "counts": "04;"}, {"size": [3, 4], "counts": 12}),
        *({"size": [3, 2**70], "counts": "04;"}, {"size": [3, "4"], "counts": "04;"}, {"size": [3, 4], "counts": None}),
        *({"size": [3, 4], "counts": np.array([12])}, {"size": [3, 4], "counts": memoryview(b"[ 1 2")[::2]}),
        *(
            {"size": [3, 4], "counts": memoryview(b"")},
            {"size": [3, 4], "counts": memoryview(b"[12 0")},
            {"size": [3, 4], "counts": memoryview(b"[1[11")},
        ),
    ],
)
def test_the_compiled_reader_reads_nothing_from_what_is_no_mask(mask):
    assert reader._read_compiled([mask], 3, 4) is None


@needs_compiled
@pytest.mark.parametrize(("digits", "accepted"), [(5, True), (6, True), (7, False)])
def test_both_readers_accept_numbers_of_up_to_six_digits_only(digits, accepted):
    zero = "P" * (digits - 1) + "0"
    found, expected = read_both([{"size": [3, 4], "counts": zero + "<"}], 3, 4)
    assert (found is not None, expected is not None) == (accepted, accepted)


@pytest.mark.skipif(not (INSTALLED and CAN_COMPILE), reason="not installed, no C compiler, or no headers of Python")
def test_the_reader_is_compiled_where_it_can_be():
    assert reader._compiled is not None, "install again: make setup"


@needs_compiled
def test_a_reader_compiled_from_an_earlier_source_is_not_used(tmp_path):
    room = tmp_path / "mssts" / "ytvis"
    shutil.copytree(ROOT / "mssts", room.parent, ignore=shutil.ignore_patterns("__pycache__"))
    asked = [sys.executable, "-c", "from mssts.ytvis import masks; print(masks._compiled is None)"]

    def missing():
        return subprocess.run(asked, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    built = Path(shutil.copy2(reader._compiled.__file__, room))
    os.utime(room / "_compiled.c", (built.stat().st_mtime - 1,) * 2)
    assert missing() == "False"
    os.utime(room / "_compiled.c", (built.stat().st_mtime + 1,) * 2)
    assert missing() == "True"


@pytest.mark.long
def test_installation_succeeds_without_a_c_compiler(tmp_path):
    copy = tmp_path / "clone"
    shutil.copytree(ROOT / "mssts", copy / "mssts", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    target = tmp_path / "installed"
    command = ["-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index", "--target", target, copy]
    nothing = {"PATH": str(tmp_path / "empty"), "CC": "no-such-compiler", "HOME": str(tmp_path)}
    subprocess.run([sys.executable, *command], env=nothing, check=True, capture_output=True)
    asked = "from mssts.ytvis import masks; print(masks.__file__, masks._compiled)"
    environment = nothing | {"PYTHONPATH": str(target)}
    answer = subprocess.run(
        [sys.executable, "-c", asked], env=environment, cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert answer.stdout.split() == [str(target / "mssts" / "ytvis" / "masks.py"), "None"]
