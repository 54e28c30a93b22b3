"""What the tables beside the results must show: what made the runs, their settings, and the size of their models."""

from __future__ import annotations

import hashlib
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

from mssts.inference.predict import load_run_model
from mssts.ops.attention import ScaledDotProduct
from tests.report.traced.shown import Rows, Table, numbers_in
from tests.report.traced.study import DATA, REPOSITORY, RUNS, SCALE, SEEDS, TITLES, VARIANTS, run_folders

SECTIONS = {
    "pretrain": ("data", "model", "loss", "pretrain", "runtime"),
    "train": ("data", "model", "loss", "pretrain", "train", "runtime"),
}
"""Sections of a configuration that decide the weights of a stage."""
SETTINGS = ("Key", "Value", "Key (2)", "Value (2)", "Key (3)", "Value (3)")
"""Columns of the table of settings."""
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def name_of(run: Path) -> str:
    """Name of a run in the report."""
    return "/".join(run.parts[-4:])


def record_of(run: Path) -> dict[str, Any]:
    """The content of run.json."""
    return json.loads((run / "run.json").read_text())


def sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def config_digest(run: Path) -> str:
    """Digest of the configuration that run.json records."""
    config = record_of(run)["config"]
    sections = SECTIONS["pretrain" if run.parts[-2] == "pretrain" else "train"]
    text = json.dumps({name: config[name] for name in sections}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@cache
def data_fingerprint() -> str:
    """Fingerprint of the data: over the digests of all annotation files and images."""
    files = {path.relative_to(DATA).as_posix(): sha256(path) for path in DATA.rglob("*") if path.is_file()}
    left = sorted(files.keys() - {"fingerprint.json", "frames.sha256"})
    lines = [f"{name}\0{files[name]}\n" for name in left]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:12]


def provenance() -> dict[tuple[str, ...], Rows]:
    """The rows of the tables that the report shows beside its results, by their columns."""
    return {
        ("Run", "Commit", "Config digest", "Data fingerprint", "Start", "Checkpoint"): _runs(),
        ("Device", "Versions and flags", "Runs"): _environments(),
        ("Variant", "Changes"): _changes(),
        ("Variant", "Parameters", "Added", "Added, %", "GFLOPs per clip", "FLOPs added, %"): _complexity(),
        **_server_scores(),
    }


def _runs() -> Rows:
    return {
        ("dataset/backbone/variant/seed", name_of(run)): [
            record_of(run)["commit"],
            config_digest(run),
            data_fingerprint(),
            "none" if run.parts[-2] == "pretrain" else "pretrain 1",
            sha256(run / "checkpoint.pt")[:12],
        ]
        for run in run_folders()
    }


def _environments() -> Rows:
    [found] = {json.dumps(record_of(run)["environments"], sort_keys=True) for run in run_folders()}
    [environment] = json.loads(found)
    python = ".".join(map(str, sys.version_info[:3]))
    versions = f"deterministic algorithms True, python {python}, torch {torch.__version__}"
    return {("", environment["device"]): [versions, str(len(run_folders()))]}


def _changes() -> Rows:
    rows: Rows = {}
    for variant in VARIANTS:
        changes = yaml.safe_load((REPOSITORY / f"ablations/variants/{variant}.yaml").read_text()).get("changes") or {}
        rows["", TITLES[variant]] = [
            "; ".join(f"{key} = {str(value).lower()}" for key, value in changes.items()) or "-"
        ]
    return rows


def _complexity() -> Rows:
    sizes = {variant: size_of(RUNS / variant / f"seed{SEEDS[0]}/checkpoint.pt") for variant in VARIANTS}
    first, synthetic = sizes["baseline"], SCALE["data"]["synthetic"]
    assert not {"height", "width"} & synthetic.keys()  # as in ablations/baseline.yaml
    band = f"dataset synthvis, backbone tiny, clip of {SCALE['train']['frames']} frames of 64 x 96 px"
    return {
        (band, TITLES[variant]): [
            (parameters,),
            (parameters - first[0],),
            (100 * (parameters / first[0] - 1),),
            (flops / 1e9,),
            (100 * (flops / first[1] - 1),),
        ]
        for variant, (parameters, flops) in sizes.items()
    }


def size_of(checkpoint: Path) -> tuple[int, int]:
    """Parameters in a checkpoint, and FLOPs of its model for a clip."""
    tensors = torch.load(checkpoint, weights_only=True)["model"]
    parameters = sum(tensor.numel() for name, tensor in tensors.items() if not name.endswith(_BUFFERS))
    model, attention = load_run_model(checkpoint)[0], []

    def count(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...], __: torch.Tensor) -> None:
        queries, keys = inputs[:2]
        attention.append(4 * queries.numel() * keys.shape[-2])  # scores and weighted values, two FLOPs each

    for module in model.modules():
        if isinstance(module, ScaledDotProduct):
            module.register_forward_hook(count)
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, SCALE["train"]["frames"], 3, 64, 96))
    counts = counter.get_flop_counts()["Global"]
    others = {torch.ops.aten.convolution, torch.ops.aten.addmm, torch.ops.aten.mm}
    return parameters, sum(attention) + sum(flops for operation, flops in counts.items() if operation in others)


def _server_scores() -> dict[tuple[str, ...], Rows]:
    [score] = yaml.safe_load(Path("server_scores.yaml").read_text())["scores"]
    shown = ("variant", "study", "backbone", "seed", "AP", "AP50", "AP75", "AR1", "AR10", "server", "date")
    columns = tuple(name if name.isupper() or name[:2] in ("AP", "AR") else name.capitalize() for name in shown)
    values = [str(score[name]) for name in shown]
    return {columns: {("Official server: dataset synthvis, test split", values[0]): values[1:]}}


def wrong_settings(table: Table) -> list[object]:
    """The settings in a table that are not those of the configuration, and those that it lacks."""
    cells = [row[start : start + 2] for row in table.rows for start in (0, 2, 4)]
    found = {key: value for key, value in cells if key}
    tree = _merged(yaml.safe_load((REPOSITORY / "ablations/baseline.yaml").read_text()), SCALE)
    expected = {key: value for key, value in leaves_of(tree) if not key.startswith("execution.")}
    set_ones = {key: value for key, value in expected.items() if value not in (None, [], {})}
    wrong: list[object] = sorted(found.keys() ^ set_ones.keys())
    return wrong + [
        (key, found[key], set_ones[key]) for key in found.keys() & set_ones if not _says(found[key], set_ones[key])
    ]


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        merged[key] = (
            _merged(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
        )
    return merged


def leaves_of(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Dotted key and value of everything that is no mapping."""
    nested = [
        leaves_of(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [(f"{prefix}{key}", value)]
        for key, value in tree.items()
    ]
    return [pair for pairs in nested for pair in pairs]


def _says(text: str, value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    if all(isinstance(one, int | float) and not isinstance(one, bool) for one in values):
        return [float(number) for number in numbers_in(text)] == [float(one) for one in values]
    return text == (str(value).lower() if isinstance(value, bool) else str(value))
