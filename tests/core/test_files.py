"""Files appear whole or not at all, and damaged ones are named."""

import pytest
import torch

from mssts.core.checkpoint import load_checkpoint, save_checkpoint
from mssts.core.errors import InputError
from mssts.core.files import atomic_write, read_json, sha256_file, write_json


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
    content = {"model": {"weight": torch.arange(6.0).view(2, 3)}, "step": 3}
    save_checkpoint(tmp_path / "a.pt", content)
    save_checkpoint(tmp_path / "deeper" / "b.pt", content)
    assert sha256_file(tmp_path / "a.pt") == sha256_file(tmp_path / "deeper" / "b.pt")
    assert torch.equal(load_checkpoint(tmp_path / "a.pt")["model"]["weight"], content["model"]["weight"])


@pytest.mark.parametrize("length", [0, 10, 300])
def test_a_truncated_checkpoint_is_named(tmp_path, length):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"model": {"weight": torch.zeros(100)}})
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match=r"checkpoint\.pt: damaged"):
        load_checkpoint(path)


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    path = tmp_path / "checkpoint.pt"
    torch.save({"model": print}, path)
    with pytest.raises(InputError, match=r"checkpoint\.pt: damaged"):
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
