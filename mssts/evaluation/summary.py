"""The metrics of an evaluation as text: the twelve lines that users of COCO know, and a table of the categories."""

from __future__ import annotations

from typing import Any

from mssts.core.errors import printable

UNDEFINED = -1.0  # as the reference evaluator prints it
COLUMNS = ("AP", "AP50", "AP75", "AR1", "AR10")
_IOU = {"AP50": "0.50", "AP75": "0.75"}
_WIDEST = 40  # characters of a name


def summary(metrics: dict[str, Any], per_category: bool = False) -> str:
    """Text on the content of metrics.json.

    Args:
        metrics: The content.
        per_category: Whether a table of the categories follows.
    """
    lines = [_line(name, value) for name, value in metrics["overall"].items()]
    rows = {"all categories": metrics["overall"], "class-agnostic": metrics["class_agnostic"]}
    if "boxes" in metrics:
        rows["boxes of the decoder"] = metrics["boxes"]["overall"]
    lines += ["", *_table(rows, COLUMNS)]
    challenges = {f"shows {name}": values for name, values in metrics["attributes"].items()}
    if challenges:
        lines += ["", *_table(challenges, ("AP", "AP75"))]
    if per_category:
        lines += ["", *_table(metrics["per_category"], COLUMNS)]
    return "\n".join(lines)


def _line(name: str, value: float | None) -> str:
    """A metric as pycocotools prints it."""
    kind, _, area = name.partition("_")
    title = "Average Precision  (AP)" if kind.startswith("AP") else "Average Recall     (AR)"
    detections = kind[2:] if kind.startswith("AR") and kind[2:] else "100"
    where = f"IoU={_IOU.get(kind, '0.50:0.95'):<9} | area={area or 'all':>6} | maxDets={detections:>3}"
    return f" {title} @[ {where} ] = {_shown(value)}"


def _table(rows: dict[str, dict[str, Any]], columns: tuple[str, ...]) -> list[str]:
    names = {name: printable(name)[:_WIDEST] for name in rows}
    width = max(map(len, names.values()))
    lines = [" " * width + "".join(f"{column:>8}" for column in columns)]
    for name, values in rows.items():
        lines.append(f"{names[name]:<{width}}" + "".join(f"{_shown(values[column]):>8}" for column in columns))
    return lines


def _shown(value: float | None) -> str:
    return f"{UNDEFINED if value is None else value:.3f}"
