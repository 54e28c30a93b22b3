"""What is recorded is verified: checkpoints, records and files with a recorded digest; outputs never replace inputs."""

from __future__ import annotations

import errno
import os
import socket
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from mssts.core.checkpoint import load_checkpoint, save_checkpoint
from mssts.core.errors import InputError, NoSpace, system_failure
from mssts.core.files import atomic_write, check_outputs, read_record, sha256_file, verify_digest, write_record

CONTENT = {
    "model": {"weight": torch.linspace(-1, 1, 200).view(10, 20), "steps": torch.tensor(3)},
    "backbone": "tiny",
    "categories": [[1, "thing"]],
    "config": "{}",
}


def flipped(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def random_bits(path: Path, count: int) -> list[int]:
    return np.random.default_rng(0).integers(0, 8 * path.stat().st_size, count).tolist()


def test_no_flipped_bit_of_a_checkpoint_with_a_record_passes(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, CONTENT)
    write_record(tmp_path / "run.json", {"checkpoint_sha256": sha256_file(path)})
    load_checkpoint(path)
    for bit in random_bits(path, 300):
        flipped(path, bit)
        with pytest.raises(InputError, match=r"checkpoint\.pt: was changed after its digest was recorded"):
            load_checkpoint(path)
        flipped(path, bit)


def test_no_flipped_bit_of_a_checkpoint_without_a_record_changes_a_weight(tmp_path):
    path = tmp_path / "start.pt"
    save_checkpoint(path, CONTENT)
    for bit in random_bits(path, 300):
        flipped(path, bit)
        try:
            loaded = load_checkpoint(path)
        except InputError:
            pass
        else:
            assert {name: value.tolist() for name, value in loaded["model"].items()} == {
                name: value.tolist() for name, value in CONTENT["model"].items()
            }
        flipped(path, bit)


@pytest.mark.parametrize(
    "weight",
    [
        torch.tensor([1.0, float("nan")]),
        torch.tensor([float("inf")]),
        torch.tensor([1j]),
        torch.ones(3).to_sparse(),
        torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        torch.ones(3, device="meta"),
        torch.tensor([float("nan")]).expand(2**40),
        [1.0, 2.0],
        None,
    ],
    ids=["nan", "infinite", "complex", "sparse", "quantised", "meta", "view", "list", "none"],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_weights_that_are_no_finite_real_numbers_are_refused(tmp_path, weight):
    save_checkpoint(tmp_path / "c.pt", CONTENT | {"model": {"head.weight": weight}})
    with (
        warnings.catch_warnings(action="error"),
        pytest.raises(InputError, match=r"c\.pt: (weight head\.weight: found .*, expected a tensor of finite|cannot)"),
    ):
        load_checkpoint(tmp_path / "c.pt")


@pytest.mark.parametrize("category", [None, "person", [1], [1, 2], [True, "person"], [1, "person", 3], {1: "person"}])
def test_categories_of_a_checkpoint_are_ids_with_names(tmp_path, category):
    save_checkpoint(tmp_path / "c.pt", CONTENT | {"categories": [(1, "thing"), category]})
    with pytest.raises(InputError, match=r"c\.pt: categories: found .*, expected an id and a name"):
        load_checkpoint(tmp_path / "c.pt")


def test_names_of_weights_are_text(tmp_path):
    save_checkpoint(tmp_path / "c.pt", CONTENT | {"model": {3: torch.ones(3)}})
    with pytest.raises(InputError, match=r"c\.pt: weight 3: found Tensor under a name of int, expected"):
        load_checkpoint(tmp_path / "c.pt")


@pytest.mark.parametrize("key", ["model", "backbone", "categories", "config"])
@pytest.mark.parametrize("value", [None, 3, "missing"])
def test_a_checkpoint_without_one_of_its_values_is_refused(tmp_path, key, value):
    content = {name: kept for name, kept in CONTENT.items() if name != key or value != "missing"}
    save_checkpoint(tmp_path / "c.pt", content if value == "missing" else content | {key: value})
    with pytest.raises(InputError, match=rf"c\.pt: {key}: found (nothing|NoneType|int), expected"):
        load_checkpoint(tmp_path / "c.pt")


def test_an_object_that_is_no_plain_value_is_named_in_one_line(tmp_path):
    save_checkpoint(tmp_path / "c.pt", CONTENT | {"best": np.float64(0.5)})
    with pytest.raises(InputError, match=r"it contains a numpy\S+scalar, which is neither a tensor nor") as error:
        load_checkpoint(tmp_path / "c.pt")
    assert "\x1b" not in str(error.value) and "\n" not in str(error.value)


def test_a_record_is_read_back_and_no_changed_byte_of_it_passes(tmp_path):
    path, content = tmp_path / "metrics.json", {"AP": 0.25, "names": ["é", "b"], "none": None}
    write_record(path, content)
    assert read_record(path) == content
    written = path.read_bytes()
    for bit in random_bits(path, 200):
        flipped(path, bit)
        try:
            assert read_record(path) == content  # white space only
        except InputError as error:
            assert "metrics.json" in str(error)
        path.write_bytes(written)


def test_a_touched_file_is_the_same_and_a_changed_one_of_equal_size_and_time_is_not(tmp_path):
    path = tmp_path / "file"
    path.write_text("one")
    digest, times = sha256_file(path), path.stat()
    os.utime(path, (1, 1))
    verify_digest(path, digest, "")
    path.write_text("two")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(InputError, match=r"was changed after its digest was recorded.*Make it again\."):
        verify_digest(path, digest, "Make it again.")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "input.json"
    path.write_text("[]")
    return path


def other_names(source: Path) -> dict[str, Path]:
    """Other names of one file."""
    folder = source.parent
    (folder / "link").symlink_to(source)
    os.link(source, folder / "hard")
    (folder / "folder").symlink_to(folder)
    return {
        "itself": source,
        "dots": folder / "." / ".." / folder.name / source.name,
        "hard link": folder / "hard",
        "symbolic link": folder / "link",
        "through a linked folder": folder / "folder" / source.name,
    }


@pytest.mark.parametrize("name", ["itself", "dots", "hard link", "symbolic link", "through a linked folder"])
def test_an_output_is_never_an_input(source, name):
    with pytest.raises(InputError, match=r"is an input of this command|is a link"):
        check_outputs([other_names(source)[name]], [None, source])
    assert source.read_text() == "[]"


@pytest.mark.parametrize("kind", ["folder", "link", "dangling link", "FIFO", "socket", "device"])
def test_an_output_is_an_ordinary_file_or_absent(tmp_path, source, kind):
    path = Path("/dev/null") if kind == "device" else tmp_path / "output"
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(source)
    elif kind == "dangling link":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    with pytest.raises(InputError, match=rf"is a {kind.split()[-1]}; expected a new name or an ordinary file"):
        check_outputs([path])
    with pytest.raises(InputError, match="expected a new name"), atomic_write(path):
        pass
    assert source.read_text() == "[]"


def test_two_outputs_never_share_a_file(tmp_path):
    with pytest.raises(InputError, match="two outputs"):
        check_outputs([tmp_path / "a.json", tmp_path / "x" / ".." / "a.json"])


@pytest.mark.parametrize(
    ("number", "kind", "said"),
    [
        (errno.ENOSPC, NoSpace, "out.json: no space left to write"),
        (errno.EDQUOT, NoSpace, "out.json: no space left to write"),
        (errno.EFBIG, NoSpace, "out.json: no space left to write"),
        (errno.EACCES, InputError, "out.json: Permission denied"),
        (errno.ENAMETOOLONG, InputError, "out.json: File name too long"),
        (errno.EIO, InputError, "out.json: Input/output error"),
    ],
)
def test_an_error_of_the_system_says_what_to_do(number, kind, said):
    failure = system_failure(OSError(number, os.strerror(number), "out.json"))
    assert isinstance(failure, kind) and failure.exit_code == (5 if kind is NoSpace else 2)
    assert said in str(failure) and "run the same command again" in str(failure)


@pytest.mark.parametrize("path", ["/dev/null/x/out.json", "/proc/none/out.json", "a" * 300])
def test_a_file_that_cannot_be_written_is_named(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((OSError, InputError)) as error, atomic_write(Path(path)):
        pass
    message = str(error.value if isinstance(error.value, InputError) else system_failure(error.value))
    assert message.startswith((f"{path}: ", *(f"{folder}: " for folder in Path(path).parents)))


def test_a_full_disk_names_the_file_and_keeps_the_old_content(tmp_path):
    import resource

    path = tmp_path / "big"
    path.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, hard))
    try:
        with pytest.raises(OSError, match=r"File too large.*big") as error, atomic_write(path, "wb") as file:
            file.write(bytes(2**20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert isinstance(system_failure(error.value), NoSpace)
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["big"]
