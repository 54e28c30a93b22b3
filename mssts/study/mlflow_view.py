"""A saved view of MLflow's interface that shows the ablation of a study at once."""

from __future__ import annotations

import base64
import json
import time
import zlib

NAME = "Ablation"
TAG = "mlflow.sharedViewState.mssts"  # of the experiment; the interface lists all tags that begin so under "Views"
_COMPRESSED = "deflate;"


def ablation_view(splits: list[str]) -> str:
    """Value of `TAG`: the evaluated trainings, best first, with variant, backbone, seed and AP of each split.

    Args:
        splits: Splits on which the study is evaluated; the first one orders the runs.
    """
    metrics = [f"metrics.`{split}/AP`" for split in splits]
    state = {
        "searchFilter": f'tags.stage = "train" and {metrics[0]} >= 0',
        "orderByKey": metrics[0],
        "orderByAsc": False,
        "selectedColumns": ["tags.`variant`", "tags.`backbone`", "tags.`seed`", *metrics],
    }
    now = int(1000 * time.time())
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    return json.dumps({"name": NAME, "createdAt": now, "updatedAt": now, "state": _COMPRESSED + packed})
