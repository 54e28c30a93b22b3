"""Inference on whole videos: the official YouTube-VIS submission list, and the same list zipped."""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocotools import mask as run_length
from tqdm import tqdm

from mssts.config import Config, PredictSection
from mssts.core.checkpoint import load_checkpoint
from mssts.core.distributed import merged_shares, own_share, start_fabric
from mssts.core.errors import InputError
from mssts.core.files import atomic_write
from mssts.data.datasets import split_annotations
from mssts.data.videos import read_video
from mssts.models import MsStsVis, Output, build_model


def load_run_model(checkpoint: Path) -> tuple[MsStsVis, Config, list[tuple[int, str]]]:
    """The model of a run in eval mode, its resolved config, and its categories as (id, name) in logit order.

    A logit of an imported checkpoint that stands for no category has the empty name. Raises InputError.
    """
    content = load_checkpoint(checkpoint)
    if "model" in content and not any(name.startswith("class_heads.") for name in content["model"]):
        raise InputError(f"{checkpoint}: imported without its class head: a start for training, it cannot predict.")
    try:
        config = Config.model_validate_json(content["config"])
        categories = [(int(number), str(name)) for number, name in content["categories"]]
        model = build_model(config.model, content["backbone"], len(categories))
        model.load_state_dict(content["model"])
    except (KeyError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{checkpoint}: does not fit this version of mssts ({reason}). Train the run again.") from None
    return model.eval(), config, categories


def predict(config: Config, checkpoint: Path, data: Path, dataset: str, split: str, output: Path) -> None:
    """Predict every video of a split; writes `output` (JSON) and the submission zip beside it.

    The model is that of the checkpoint's own config, the inference settings are those of the study's scale today. Of
    several devices of one node each takes every n-th video; the first writes what all found, in the data set's order.
    """
    device = "cuda" if config.runtime.device != "cpu" and torch.cuda.is_available() else "cpu"
    fabric = start_fabric(device, "32-true", config.execution.devices)
    torch.set_num_threads(config.runtime.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    model, trained, categories = load_run_model(checkpoint)
    model.to(fabric.device)
    annotations = split_annotations(dataset, data, split, truth=False)
    legal = [category for category in categories if category[1]]
    if [tuple(category) for category in annotations.categories] != legal:
        raise InputError(f"{checkpoint}: trained on {legal}, but {data} has {list(annotations.categories)}.")

    results = []
    videos = own_share(fabric, annotations.videos)
    shown = {"desc": f"predict {output.parent}", "unit": "video", "mininterval": 2}
    for video in tqdm(videos, **shown, disable=not fabric.is_global_zero):
        frames_T3HW, size = read_video(annotations, video, config.predict.short_side, trained.data)
        with torch.inference_mode():
            prediction = model(frames_T3HW[None].to(fabric.device))
            input_size = frames_T3HW.shape[-2:]
            results.append(video_results(prediction, video.id, input_size, size, categories, config.predict))
    results = merged_shares(fabric, results, len(annotations.videos))
    if fabric.is_global_zero:
        _write(output, [result for of_video in results for result in of_video])


def _write(output: Path, results: list[dict[str, Any]]) -> None:
    """The submission list as JSON, and zipped beside it."""
    text = json.dumps(results, separators=(",", ":"))
    with atomic_write(output) as file:
        file.write(text)
    with atomic_write(output.with_suffix(".zip"), "wb") as file, zipfile.ZipFile(file, "w") as archive:
        member = zipfile.ZipInfo("results.json", date_time=(1980, 1, 1, 0, 0, 0))
        archive.writestr(member, text, zipfile.ZIP_DEFLATED)


def video_results(
    prediction: Output,
    video_id: int,
    input_size: tuple[int, int],
    original_size: tuple[int, int],
    categories: list[tuple[int, str]],
    settings: PredictSection,
) -> list[dict[str, Any]]:
    """The `top_k` best (query, class) pairs of one video as submission entries, best first.

    input_size and original_size: (height, width) in pixels of the network's input and of the video.
    """
    classes = len(categories)
    # Differs: the public code also emits 0 and 41, which are no categories, where their logits are among the best.
    illegal_K = torch.tensor([not name for _, name in categories], device=prediction.logits.device)
    scores = prediction.logits[0].sigmoid().masked_fill(illegal_K, -1.0).flatten()
    best = scores.argsort(descending=True, stable=True)[: settings.top_k]
    best = best[scores[best] >= 0]
    # Differs: the public code computes the masks of all queries after every layer; ours are those of the chosen ones.
    queries, inverse = torch.unique(best // classes, return_inverse=True)
    logits = prediction.mask_logits(-1, 0, queries)
    masks = original_masks(logits, input_size, original_size, settings.mask_threshold)
    encoded = [encode_track(track) for track in masks]
    # Differs: the public code leaves out results without any mask, and the masks of scores below 0.001.
    return [
        {
            "video_id": video_id,
            "category_id": categories[int(pair) % classes][0],
            "score": float(scores[pair]),
            "segmentations": encoded[int(position)],
        }
        for pair, position in zip(best, inverse, strict=True)
    ]


def original_masks(
    logits_NTHW: torch.Tensor, input_size: tuple[int, int], original_size: tuple[int, int], threshold: float
) -> np.ndarray:
    """Binary masks (N, T, H, W) uint8 at the video's own size, from mask logits at stride 4 of the input."""
    resize = torch.nn.functional.interpolate
    # Differs: the public code stretches the grid at stride 4 over the whole video, although it reaches beyond the
    # input's right and bottom edge where 8 does not divide its size; here that margin is cut off first.
    logits = resize(logits_NTHW, scale_factor=4.0, mode="bilinear", align_corners=False)
    logits = logits[..., : input_size[0], : input_size[1]]
    if tuple(input_size) != tuple(original_size):
        logits = resize(logits, size=tuple(original_size), mode="bilinear", align_corners=False)
    return (logits > math.log(threshold / (1 - threshold))).to(torch.uint8).cpu().numpy()


def encode_track(masks_THW: np.ndarray) -> list[dict[str, Any] | None]:
    """One compressed RLE per frame, null where the mask is empty."""
    runs = run_length.encode(np.asfortranarray(masks_THW.transpose(1, 2, 0)))
    seen = masks_THW.any(axis=(1, 2))
    return [
        {"size": [int(n) for n in run["size"]], "counts": run["counts"].decode()} if visible else None
        for run, visible in zip(runs, seen, strict=True)
    ]
