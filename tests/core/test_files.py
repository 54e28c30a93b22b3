"""Files appear whole or not at all, and damaged ones are named."""

import os
import socket
from pathlib import Path

import pytest
import torch

from mssts.core.checkpoint import load_checkpoint, save_checkpoint
from mssts.core.errors import InputError
from mssts.core.files import atomic_write, not_regular, read_json, sha256_file, write_json


def test_a_failed_write_keeps_the_old_content_and_leaves_no_temporary_file(tmp_path):
    path = tmp_path / "numbers.json"
    write_json(path, {"AP": 1.0})
    with pytest.raises(RuntimeError), atomic_write(path) as file:
        file.write("half of it")
        raise RuntimeError
    assert read_json(path) == {"AP": 1.0}
    assert [p.name for p in tmp_path.iterdir()] == ["numbers.json"]


def test_not_a_number_is_refused_and_loses_nothing(tmp_path):
    path = tmp_path / "numbers.json"
    write_json(path, {"AP": 1.0})
    with pytest.raises(ValueError, match="Out of range"):
        write_json(path, {"AP": float("nan")})
    assert read_json(path) == {"AP": 1.0}


def test_the_same_content_gives_the_same_bytes(tmp_path):
    content = {"model": {"weight": torch.arange(6.0).view(2, 3)}, "backbone": "b", "categories": [], "config": "{}"}
    save_checkpoint(tmp_path / "a.pt", content)
    save_checkpoint(tmp_path / "deeper" / "b.pt", content)
    assert sha256_file(tmp_path / "a.pt") == sha256_file(tmp_path / "deeper" / "b.pt")
    assert torch.equal(load_checkpoint(tmp_path / "a.pt")["model"]["weight"], content["model"]["weight"])


@pytest.mark.parametrize("length", [0, 10, 300])
def test_a_truncated_checkpoint_is_named(tmp_path, length):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"model": {"weight": torch.zeros(100)}})
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match=r"checkpoint\.pt: cannot be loaded"):
        load_checkpoint(path)


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    path = tmp_path / "checkpoint.pt"
    torch.save({"model": print}, path)
    with pytest.raises(InputError, match=r"checkpoint\.pt: cannot be loaded"):
        load_checkpoint(path)


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(InputError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "checkpoint.pt")


@pytest.mark.parametrize("text", ["", "{", "[1,"])
def test_malformed_json_is_named(tmp_path, text):
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"run\.json: not valid JSON"):
        read_json(path)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


NOT_REGULAR = {
    "nothing": (lambda path: None, "no such file"),
    "a folder": (Path.mkdir, "found a folder"),
    "a FIFO": (os.mkfifo, "found a FIFO"),
    "a socket": (make_socket, "found a socket"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "found a device"),
    "a link to a FIFO": (lambda path: (os.mkfifo(f"{path}.fifo"), path.symlink_to(f"{path}.fifo")), "found a FIFO"),
    "a link to nothing": (lambda path: path.symlink_to("nowhere"), "no such file"),
    "a link to itself": (lambda path: path.symlink_to(path), "cannot be opened"),
}


@pytest.mark.parametrize("name", NOT_REGULAR)
def test_only_a_regular_file_is_opened(tmp_path, monkeypatch, name):
    make, found = NOT_REGULAR[name]
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    make(Path("a.json"))
    assert found in not_regular(Path("a.json"))
    with pytest.raises(InputError, match=rf"^a\.json: {found}.*; expected a JSON file"):
        read_json(Path("a.json"))


def test_a_link_to_a_regular_file_is_opened(tmp_path):
    write_json(tmp_path / "a.json", 1)
    (tmp_path / "b.json").symlink_to("a.json")
    assert not_regular(tmp_path / "b.json") is None
    assert read_json(tmp_path / "b.json") == 1


@pytest.mark.parametrize("text", ["[" * 10_000, "1" * 5000, "\ufeff{}", "[1,]"])
def test_text_that_is_no_json_is_named(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match="not valid JSON"):
        read_json(tmp_path / "a.json")
