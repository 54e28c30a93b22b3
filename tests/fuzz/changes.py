"""Random changes of the files of a project; the random numbers of a case decide, and its log records them."""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import random
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from PIL import Image

from mssts.config import ABLATIONS
from mssts.core.files import read_record, sha256_file, write_record
from tests.fuzz.case import Case
from tests.fuzz.project import FRAME, HEIGHT, PICTURE, PREDICTIONS, RUN, SCORES, STUDY, WIDTH, ZIP

# Values for any place of a file. Text that begins with RAW is written into the file without quotes.
RAW = "@raw "
PLAIN: list[Any] = [None, True, False, 0, 1, 2, -1, 0.5, -0.5, 1e-320, 1e9, 1e30, 1e308, 2**31, 2**63 - 1, 2**63, 2**64]
PLAIN += [-(2**63), 10**30, math.nan, math.inf, -math.inf, [], {}, [[]], [None], {"a": 1}, [0] * 10**5, [1, 2, 3]]
PLAIN += ["", "0", "a", " ", "\ud800", "\0", "\x1b[31m", "=1+1", "$x$", "{a}", "a;b", "../a", "/etc/passwd", "é" * 300]
PLAIN += ["S" * 10**6, "1" * 10**6, [[1e9, 0, 5, 5, 9, 1]], {"size": [HEIGHT, WIDTH], "counts": "1" * 10**6}]
PLAIN += [{"size": [2**31, 2**31], "counts": [2**62]}]
VALUES = [*PLAIN, 10**400, *(RAW + text for text in ("1e400", "-0", "9" * 5000, "[" * 10**5 + "]" * 10**5))]
# No absolute path: an output of that name would be written.
ARGUMENTS = ["", " ", ".", "..", "../a", "a/b/c", "a;touch owned", "$(touch owned)", "{a}", "\x1b[31m", "\udcff", "\n"]
ARGUMENTS += ["a" * 300, "a" * 10**5, "é", "-1", "0", "9" * 30, "nan", "1.5", "--help", "True", "[]", "*", "%s", "~"]
# Each of these must be refused in YAML, wherever it stands but in free text.
ALIASES = [f"&{b} [{f'*{a}, ' * 10}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
YAML_VALUES = [".nan", ".inf", "1:30", "2001-01-01", "{}", "1e400", "9" * 31, "-" + "9" * 31, "[" * 2000 + "]" * 2000]
YAML_VALUES += ["!!python/object/apply:os.system ['touch owned']", "!!binary aGk=", "!!set {a}", "&a [*a]", "[[]]"]
YAML_VALUES += [f"[{', '.join(['&a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]', *ALIASES])}]"]
NOT_CHECKED = {"question", "cost", "expect", "title", "source", "external", "branches", "blocks", "terms"}


def flip_bit(case: Case, path: Path) -> None:
    """Flip one bit of a file."""
    content = bytearray(path.read_bytes())
    position, bit = case.rng.randrange(len(content)), case.rng.randrange(8)
    content[position] ^= 1 << bit
    case.note("change", f"{path}: bit {bit} of byte {position} flipped")
    path.write_bytes(content)


def change_bytes(case: Case, path: Path) -> None:
    """Change the bytes of a file, without regard to its format."""
    text, rng = path.read_bytes(), case.rng
    at, end = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
    decoded = text.decode("latin-1")
    changes = {
        "cut": lambda: text[:at],
        "begin cut": lambda: text[at:],
        "part cut": lambda: text[:at] + text[end:],
        "part twice": lambda: text[:end] + text[at:],
        "zeros": lambda: text[:at] + bytes(end - at) + text[end:],
        "noise": lambda: text[:at] + rng.randbytes(rng.randrange(1, 40)) + text[at:],
        "twice": lambda: text + text,
        "appended": lambda: text + rng.choice([b"\0", b" ", b"x", b"{}"]),
        "empty": lambda: b"",
        "blank": lambda: b" \n" * 100,
        "BOM": lambda: b"\xef\xbb\xbf" + text,
        "UTF-16": lambda: decoded.encode("utf-16"),
        "UTF-32": lambda: decoded.encode("utf-32"),
        "gzip": lambda: gzip.compress(text, mtime=0),
        "cut gzip": lambda: gzip.compress(text, mtime=0)[: -rng.randrange(1, 30)],
        "gzip bomb": lambda: b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + bomb(4000),
        "zip": lambda: make_zip([("results.json", text)]),
        "HTML": lambda: b"<!DOCTYPE html><html><body>404</body></html>",
    }
    if rng.random() < 0.4:
        flip_bit(case, path)
        return
    name = rng.choice(list(changes))
    case.note("change", f"{path}: {name} [{at}:{end}]")
    path.write_bytes(changes[name]())


KINDS_OF_FILE: dict[str, Callable[[Path, Path], object]] = {
    "missing": lambda path, other: None,
    "FIFO": lambda path, other: os.mkfifo(path),
    "directory": lambda path, other: path.mkdir(),
    "dangling link": lambda path, other: path.symlink_to("nowhere"),
    "link loop": lambda path, other: path.symlink_to(path.name),
    "endless device": lambda path, other: path.symlink_to("/dev/zero"),
    "empty device": lambda path, other: path.symlink_to("/dev/null"),
    "link": lambda path, other: path.symlink_to(other.absolute()),
}


def change_kind_of_file(case: Case, path: Path) -> None:
    """Put something else in the place of a file."""
    moved = path.with_suffix(".moved")
    path.rename(moved)
    name = case.rng.choice(list(KINDS_OF_FILE))
    case.note("change", f"{path}: {name}")
    KINDS_OF_FILE[name](path, moved)


def _near(value: Any) -> list[Any]:
    """Values of the same type as a value, most of them wrong."""
    if isinstance(value, bool):
        return [not value, int(value)]
    if isinstance(value, int) and abs(value) >= 2**1000:  # has no float, and perhaps too many digits for a text
        return [-value, value + 1, 0]
    if isinstance(value, int | float):
        numbers = [-value, value + 1, value - 1, value * 2, value / 2, float(value), str(value)]
        return [*numbers, 0, -1, 2**31, 2**40, 1e9, 1e308, 2**63]
    if isinstance(value, str):
        texts = [value + "x", value[1:], value * 2, value.upper(), value[::-1], value * 30_000]
        return [*texts, f" {value}", f"{value}\0", f"{value}\n"]
    if isinstance(value, list):
        return [value[1:], value + value, [value], value[::-1], [*value, None], [None] * len(value), [-1] * len(value)]
    if isinstance(value, dict) and value:
        return [{**value, "a": 1}, list(value), list(value.values()), {}]
    return []


class Change(NamedTuple):
    """What `change_tree` did: the new tree, "set", "repeated key" or another action, and the keys of the place."""

    tree: Any
    action: str
    keys: list[Any]


def change_tree(case: Case, tree: Any, values: list[Any]) -> Change:
    """Change one random place of a tree of mappings and lists."""
    rng, holder = case.rng, [tree]
    parent: Any = holder
    key: Any = 0
    names: list[Any] = []
    while isinstance(parent[key], dict | list) and parent[key] and (len(names) < 2 or rng.random() < 0.85):
        parent = parent[key]
        key = rng.choice(list(parent)) if isinstance(parent, dict) else rng.randrange(len(parent))
        names.append(key)
    action = rng.choices(["set", "near", "delete", "repeat", "copy"], [4, 4, 1, 1, 1])[0]
    near = _near(parent[key])
    value = rng.choice(near if near and action == "near" else values)
    if action in ("set", "near"):
        parent[key] = value
    elif action == "delete":
        del parent[key]
    elif action == "copy":
        other = rng.choice(list(parent)) if isinstance(parent, dict) else rng.randrange(len(parent))
        value = parent[key] = parent[other]
    elif isinstance(parent, dict):
        parent[f"{RAW}{key}"], action = value, "repeated key"
    else:
        parent.insert(key, parent[key])
    case.note("change", f"{action} {names}: {value!r:.80}")
    return Change(holder[0] if holder else None, action, names)


def write_tree(path: Path, tree: Any) -> None:
    """Write a tree as JSON, which is YAML too; raw values as they are, and raw keys a second time."""
    raw: list[str] = []

    def marked(node: Any) -> Any:
        if isinstance(node, dict):
            return {key.replace(RAW, "\t"): marked(value) for key, value in node.items()}
        if isinstance(node, list):
            return [marked(value) for value in node]
        if isinstance(node, str) and node.startswith(RAW):
            raw.append(node.removeprefix(RAW))
            return f"\t{len(raw) - 1}\t"
        return node

    text = json.dumps(marked(tree))
    for n, value in enumerate(raw):
        text = text.replace(f'"\\t{n}\\t"', value)
    path.write_text(text.replace('"\\t', '"'))


def change_json(case: Case, path: Path) -> None:
    """Change a JSON file."""
    if case.number == 0:
        return
    choice = case.rng.random()
    if choice < 0.75:
        tree = json.loads(path.read_text())
        for _ in range(case.rng.choice([1, 1, 1, 2])):
            tree = change_tree(case, tree, VALUES).tree
        write_tree(path, tree)
    elif choice < 0.95:
        change_bytes(case, path)
    else:
        change_kind_of_file(case, path)


METHODS = (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def bomb(megabytes: int) -> bytes:
    """A raw deflate stream of zeros."""
    packer = zlib.compressobj(9, wbits=-15)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * megabytes + b"\x03\x00"


def make_zip(members: list[tuple[str, bytes]], **changes: Any) -> bytes:
    """A zip; changes: attributes of the members in the archive's directory that belie what is stored."""
    buffer = io.BytesIO()
    warnings.filterwarnings("ignore", "Duplicate name")
    with zipfile.ZipFile(buffer, "w", changes.pop("method", zipfile.ZIP_STORED)) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, archive.compression)
        for info in archive.infolist():
            for key, value in changes.items():
                setattr(info, key, value)
    return buffer.getvalue()


def change_zip(case: Case) -> None:
    """Change a zip, or what is in it."""
    if case.number == 0:
        return
    path = ZIP
    text, rng, choice = PREDICTIONS.read_bytes(), case.rng, case.rng.random()
    if choice < 0.2:
        change_bytes(case, path)
        return
    if choice < 0.25:
        change_kind_of_file(case, path)
        return
    if choice < 0.4:
        change_json(case, PREDICTIONS)
        if PREDICTIONS.is_file():
            path.write_bytes(make_zip([("results.json", PREDICTIONS.read_bytes())], method=rng.choice(METHODS)))
        return
    one, zeros = [("results.json", text)], {"compress_type": zipfile.ZIP_DEFLATED, "CRC": 0}
    changes = {
        "CRC": lambda: make_zip(one, CRC=rng.randrange(2**32)),
        "encrypted": lambda: make_zip(one, flag_bits=rng.choice([1, 0x20, 0x40, 0x2000])),
        "size": lambda: make_zip(one, file_size=rng.choice([0, 5, 2**31, 2**63])),
        "compressed size": lambda: make_zip(one, compress_size=rng.choice([0, 5, 2**31, 2**63])),
        "offset": lambda: make_zip(one, header_offset=rng.choice([1, 2**31, 2**62])),
        "method": lambda: make_zip(one, compress_type=rng.choice([8, 12, 14, 93, 99, 65535])),
        "bomb": lambda: make_zip([("results.json", bomb(3000))], file_size=3000 * 2**20, **zeros),
        "modest bomb": lambda: make_zip([("results.json", bomb(3000))], file_size=1000, **zeros),
        "name": lambda: make_zip([(rng.choice(["../results.json", "a/results.json", "RESULTS.JSON", "é", "/"]), text)]),
        "members": lambda: make_zip([*one, (rng.choice(["a", "results.json", "__MACOSX/a", "a/"]), b"x")]),
        "no member": lambda: make_zip([]),
        "many members": lambda: make_zip([*one, *((f"{n}\x1b", b"") for n in range(20_000))]),
        "zip in a zip": lambda: make_zip([("results.json", make_zip(one))]),
        "bytes of a member": lambda: _damaged(rng, text),
    }
    name = rng.choice(list(changes))
    case.note("change", f"{path}: {name}")
    path.write_bytes(changes[name]())


def _damaged(rng: random.Random, text: bytes) -> bytes:
    content = bytearray(make_zip([("results.json", text)], method=rng.choice(METHODS)))
    for _ in range(rng.randrange(1, 9)):
        content[rng.randrange(42, len(content) - 80)] = rng.randrange(256)
    return bytes(content)


def change_yaml(case: Case) -> bool:
    """Change a file of the study. Returns whether it must be refused."""
    names = ["studies/" + STUDY, "scales/" + STUDY, "variants/ms_sts_temporal_fgbg", "baseline"]
    path = ABLATIONS / f"{case.rng.choice(names)}.yaml"
    if case.number == 0:
        return False
    choice = case.rng.random()
    if choice < 0.1:
        (change_bytes if choice < 0.08 else change_kind_of_file)(case, path)
        return False
    tree, hostile = yaml.safe_load(path.read_text()), choice < 0.5
    change = change_tree(case, tree, [RAW + value for value in YAML_VALUES] if hostile else VALUES)
    write_tree(path, change.tree)
    free = NOT_CHECKED.intersection(change.keys)
    return not free and (change.action == "repeated key" or (hostile and change.action == "set"))


FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "EPS", "PDF", "TGA", "ICO", "JPEG2000")
MODES = ("RGB", "L", "1", "P", "LA", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F", "HSV", "LAB")
_DEEP = {"I;16": (np.uint16, 257), "I": (np.int32, 257), "F": (np.float32, 1 / 255)}  # type, value of a step of 8 bits


def _in_mode(picture: Image.Image, mode: str) -> Image.Image:
    if mode in _DEEP:
        kind, step = _DEEP[mode]
        return Image.fromarray((np.asarray(picture.convert("L"), float) * step).astype(kind))
    return Image.merge("LAB", picture.split()) if mode == "LAB" else picture.convert(mode)


def change_image(case: Case) -> tuple[np.ndarray | None, bool]:
    """Put another image in the place of a frame. Returns its pixels if known, and whether it must be refused."""
    rng, choice = case.rng, case.rng.random()
    picture = Image.fromarray(PICTURE)
    if case.number == 0:
        return PICTURE.astype(int), False
    if choice < 0.05:
        change_kind_of_file(case, FRAME)
        return PICTURE.astype(int), False
    if choice < 0.2:
        change_bytes(case, FRAME)
        return None, FRAME.stat().st_size < 600
    if choice < 0.35:
        orientation, turned = rng.randrange(10), rng.random() < 0.7
        back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}.get(orientation)  # members of Image.Transpose
        shown = picture.transpose(Image.Transpose(back)) if turned and back is not None else picture
        exif = Image.Exif()
        exif[0x112] = orientation
        shown.save(FRAME, rng.choice(["JPEG", "PNG", "TIFF", "WEBP"]), exif=exif, quality=95)
        case.note("change", f"EXIF orientation {orientation}, pixels turned: {turned}")
        return (PICTURE.astype(int) if turned or orientation > 4 or orientation < 2 else None), False
    format_name, mode = rng.choice(FORMATS), rng.choice(MODES)
    made = _in_mode(picture, mode)
    expected = np.asarray(picture.convert("L" if mode in _DEEP or mode in ("L", "LA") else "RGB")).astype(int)
    expected = np.repeat(expected[..., None], 3, -1) if expected.ndim == 2 else expected
    try:
        made.save(FRAME, format_name)
    except (OSError, ValueError, KeyError):  # the format has no such mode
        format_name = "PNG"
        picture.save(FRAME, format_name)
        mode, expected = "RGB", PICTURE.astype(int)
    case.note("change", f"{format_name}, mode {mode}")
    if format_name in ("EPS", "PDF"):
        return None, True
    with Image.open(FRAME) as written:  # some formats convert what they cannot hold
        unknown = format_name == "GIF" or written.mode != made.mode or mode in ("1", "P", "HSV", "LAB")
    if choice < 0.65:
        return None if unknown else expected, False
    content = FRAME.read_bytes()
    if choice < 0.8:
        cut = rng.uniform(0.1, 0.7)
        case.note("change", f"cut to {cut:.2f}")
        FRAME.write_bytes(content[: int(len(content) * cut)])
        return None, True
    if choice < 0.9 and format_name == "PNG":
        size = rng.choice([(13_000, 13_000), (2**31 - 1, 2**31 - 1), (60_000, 1), (0, 0), (WIDTH, HEIGHT + 1)])
        header = content[12:16] + struct.pack(">II", *size) + content[24:29]
        case.note("change", f"header of {size} pixels")
        FRAME.write_bytes(content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:])
        return None, True
    flip_bit(case, FRAME)
    return expected if format_name == "PNG" and not unknown else None, False


def change_record(case: Case) -> None:
    """Change a file that the report reads."""
    names = ("run.json", "valid/metrics.json", "valid/matches.npz", "cost.json", "log.jsonl")
    path = case.rng.choice([*(RUN / name for name in names), SCORES])
    if path.suffix == ".json":
        change_json(case, path)
    elif case.number:
        (change_kind_of_file if case.rng.random() < 0.1 else change_bytes)(case, path)


class _RunsCode:
    """Runs a command when it is unpickled by a careless reader."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch owned",)


def change_checkpoint(case: Case, path: Path) -> None:
    """Change a checkpoint: its bytes, its tensors, or the plain values beside them."""
    rng, choice = case.rng, case.rng.random()
    if case.number == 0:
        return
    record = path.with_name("run.json")
    if choice < 0.4:
        if record.exists() and rng.random() < 0.7:
            record.unlink()
            case.note("change", "run.json removed")
        change_bytes(case, path)
        return
    if choice < 0.43:
        change_kind_of_file(case, path)
        return
    content = torch.load(path, weights_only=True)
    if choice < 0.8:
        weights = content["model"]
        name = rng.choice(list(weights))
        old = weights[name]
        noise = torch.full_like(old, math.nan) if old.is_floating_point() else old
        changes: dict[str, Callable[[], Any]] = {
            "NaN": lambda: noise,
            "one NaN": lambda: torch.where(torch.arange(old.numel()).view(old.shape) == 0, noise, old),
            "infinity": lambda: torch.full_like(old.float(), math.inf),
            "complex": lambda: old.to(torch.complex64),
            "double": lambda: old.double(),
            "half": lambda: old.half(),
            "integer": lambda: old.int(),
            "bool": lambda: old.bool(),
            "sparse": lambda: old.to_sparse(),
            "meta": lambda: old.to("meta"),
            "quantised": lambda: torch.quantize_per_tensor(old.float(), 0.1, 0, torch.qint8),
            "shape": lambda: torch.zeros(*old.shape, 2),
            "empty": lambda: torch.zeros(0),
            "scalar": lambda: torch.tensor(1.0),
            "expanded": lambda: torch.zeros(1).expand(2**31),
            "number": lambda: 1.0,
            "None": lambda: None,
            "list": lambda: [1.0],
            "numpy": lambda: np.float64(1.0),
            "array": lambda: np.ones(3),
            "large": lambda: torch.full_like(old.float(), 3e38),
        }
        action = rng.choice([*changes, "missing", "key", "extra"])
        case.note("change", f"{name}: {action}")
        if action == "extra":
            names = ["", "a", "class_heads.9.weight", "\ud800", f"detr.transformer.encoder.layers.{10**9}.a"]
            weights[rng.choice(names)] = torch.zeros(3)
        elif action in ("missing", "key"):
            value = weights.pop(name)
            weights |= {rng.choice([1, None, "a"]): value} if action == "key" else {}
        else:
            with warnings.catch_warnings(action="ignore"):
                weights[name] = changes[action]()
    else:
        if "config" in content and rng.random() < 0.5:
            change = change_tree(case, json.loads(content["config"]), PLAIN)
            content["config"] = json.dumps(change.tree)
        else:
            values = [*PLAIN, _RunsCode(), np.int64(3), np.ones(3), torch.ones(3)]
            flat = {key: value for key, value in content.items() if key != "model"} | {"model": {}}
            flat = change_tree(case, flat, values).tree
            if isinstance(flat, dict) and flat.get("model") == {}:
                flat["model"] = content["model"]
            content = flat
    case.note("change", "saved again")
    torch.save(content, path, _use_new_zipfile_serialization=rng.random() < 0.8)
    if record.is_file():
        known = read_record(record) | {"checkpoint_sha256": sha256_file(path)}
        record.unlink()
        if rng.random() < 0.5:
            write_record(record, known)
