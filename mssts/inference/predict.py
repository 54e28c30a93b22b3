"""Inference on videos: a submission in the format of YouTube-VIS, as JSON and zipped, and boxes beside it."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocotools import mask as run_length
from torch.nn.functional import normalize
from tqdm import tqdm

from mssts.config import Config, PredictSection, config_of_checkpoint
from mssts.core.allocator import return_freed_memory
from mssts.core.checkpoint import RECORD, load_checkpoint, misfits
from mssts.core.distributed import start_fabric
from mssts.core.errors import InputError
from mssts.core.files import atomic_write, check_outputs, record_beside, sha256_file, write_record
from mssts.data.datasets import entry, split_annotations
from mssts.data.fingerprints import FINGERPRINT, read_fingerprint
from mssts.data.videos import video_frames
from mssts.inference.windows import Part, Tracks, windows
from mssts.models import MsStsVis, Output, build_model
from mssts.models.faster import faster
from mssts.ytvis.boxes import boxes_beside

FRAMES_AT_ONCE = 8  # of one instance at the size of the video: 30 MB a copy at 720p


def load_run_model(checkpoint: Path) -> tuple[MsStsVis, Config, list[tuple[int, str]]]:
    """Load the model of a checkpoint.

    Args:
        checkpoint: checkpoint.pt of a run, or an imported one.

    Returns:
        The model in eval mode, its resolved configuration, and its categories as (id, name) in the order of the
        logits. A logit of an imported checkpoint that stands for no category has an empty name.

    Raises:
        InputError: The file is missing or damaged, has no class head, or does not fit this version.
    """
    content = load_checkpoint(checkpoint)
    if not any(name.startswith("class_heads.") for name in content["model"]):
        raise InputError(
            f"{checkpoint}: was imported without a class head (--class-head drop); it can only initialise a training, "
            "not predict."
        )
    try:
        config = config_of_checkpoint(content["config"])
        categories = [(int(number), str(name)) for number, name in content["categories"]]
        model = build_model(config.model, content["backbone"], len(categories))
        if problems := misfits(content["model"], model.state_dict()):
            raise InputError(f"weights do not fit: {problems}")
        model.load_state_dict(content["model"])
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        advice = "Train the run again, or import the public weights again."
        raise InputError(f"{checkpoint}: does not fit this version of mssts ({reason}). {advice}") from None
    return model.eval(), config, categories


def predict(config: Config, checkpoint: Path, data: Path, dataset: str, split: str, output: Path) -> None:
    """Predict every video of a split, on one device.

    Args:
        config: Configuration of the inference. The model is built from the configuration in the checkpoint.
        checkpoint: checkpoint.pt of a run, or an imported one.
        data: Directory of the dataset.
        dataset: Name of the dataset.
        split: Name of the split.
        output: JSON file to write. Beside it are written the submission zip, the boxes of the predictions, and a record
            of what predicted, with the digests of these files.

    Raises:
        InputError: An input or the device is missing, an input is damaged, or the categories of checkpoint and dataset
            differ.
    """
    annotations, images = entry(dataset).files(data, split)
    inputs = [checkpoint, checkpoint.with_name(RECORD), annotations, images, data / FINGERPRINT]
    check_outputs([output, _zip_beside(output), boxes_beside(output), record_beside(output)], inputs)
    with start_fabric(config.runtime.device, "32-true", tf32=config.runtime.tf32) as fabric:
        _predict(fabric.device, config, checkpoint, data, dataset, split, output)


def _predict(
    device: torch.device, config: Config, checkpoint: Path, data: Path, dataset: str, split: str, output: Path
) -> None:
    """As `predict`, on a device that has been started."""
    torch.set_num_threads(config.runtime.threads)
    model, trained, categories = load_run_model(checkpoint)
    model = faster(model.to(device))
    annotations = split_annotations(dataset, data, split, truth="absent")
    named = [category for category in categories if category[1]]
    if list(annotations.categories) != named:
        raise InputError(f"{checkpoint}: has the categories {named}, but {data} has {list(annotations.categories)}.")

    results = []
    for video in tqdm(annotations.videos, desc=f"predict {output.parent}", unit="video", mininterval=2):
        frames, size = video_frames(annotations, video, config.predict.short_side, trained.data)
        results.append(predict_video(model, frames, video.id, size, categories, config.predict))
    fingerprint = read_fingerprint(data) if (data / FINGERPRINT).is_file() else None
    record = {"dataset": dataset, "split": split, "data_fingerprint": fingerprint}
    record["checkpoint_sha256"] = sha256_file(checkpoint)
    entries, boxes = ([one for video in part for one in video] for part in zip(*results, strict=True))
    _write_submission(output, entries, boxes, record)


def _zip_beside(output: Path) -> Path:
    return output.parent / f"{output.stem}.zip"


def _write_submission(output: Path, entries: list[dict[str, Any]], boxes: list[Any], record: dict[str, Any]) -> None:
    """Write a submission as JSON, zipped beside it, its boxes, and its record with the digests of these files."""
    submission, boxes_file = _zip_beside(output), boxes_beside(output)
    text = json.dumps(entries, separators=(",", ":"))
    for path, content in ((output, text), (boxes_file, json.dumps(boxes, separators=(",", ":")))):
        with atomic_write(path) as file:
            file.write(content)
    with atomic_write(submission, "wb") as file, zipfile.ZipFile(file, "w") as archive:
        member = zipfile.ZipInfo("results.json", date_time=(1980, 1, 1, 0, 0, 0))
        archive.writestr(member, text, zipfile.ZIP_DEFLATED)
    files = {path.name: sha256_file(path) for path in (output, submission, boxes_file)}
    write_record(record_beside(output), record | {"files": files})


def predict_video(
    model: MsStsVis,
    frames: Iterable[torch.Tensor],
    video_id: int,
    size: tuple[int, int],
    categories: list[tuple[int, str]],
    config: PredictSection,
) -> tuple[list[dict[str, Any]], list[list[list[float]]]]:
    """Run the model on a video.

    Args:
        model: As for `tracks_of_windows`, like the next three.
        frames: Likewise.
        video_id: Likewise.
        size: Likewise.
        categories: (id, name) of each logit; an empty name where a logit stands for no category.
        config: Section `predict`.

    Returns:
        Submission entries of the `top_k` best (track, class) pairs, best first, and for each one its boxes as in
        `mssts.ytvis.boxes`.

    Raises:
        InputError: If the scores, masks or boxes of the video are not finite.
    """
    *_, tracks = tracks_of_windows(model, frames, video_id, size, categories, config)
    best = tracks.best()
    # Differs: public SeqFormer omits results without any mask, and the masks of scores below 0.001.
    entries = [
        {"video_id": video_id, "category_id": categories[found.label][0], "score": found.score}
        | {"segmentations": found.segmentations}
        for found in best
    ]
    return entries, [found.boxes for found in best]


def tracks_of_windows(
    model: MsStsVis,
    frames: Iterable[torch.Tensor],
    video_id: int,
    size: tuple[int, int],
    categories: list[tuple[int, str]],
    config: PredictSection,
) -> Iterator[Tracks]:
    """Run the model on one window of a video after the other.

    Args:
        model: The model in eval mode, on its device.
        frames: Normalised frames (3, H, W), as of `mssts.data.videos.network_frames`, read when they are needed.
        video_id: Id of the video in the dataset.
        size: (height, width) of the video in pixels.
        categories: (id, name) of each logit.
        config: Section `predict`.

    Yields:
        The tracks of the video up to the end of the window; the same object each time.

    Raises:
        InputError: If the scores, masks or boxes are not finite.
    """
    tracks = Tracks(config.top_k)
    for start, frames_T3HW in windows(frames, config.window, config.overlap):
        if start:
            return_freed_memory()  # of the window before; else the peak grows with the number of windows
        parts = _window_parts(model, start, frames_T3HW, video_id, size, categories, config)
        tracks.join(parts, start + len(frames_T3HW))
        yield tracks


@torch.inference_mode()
def _window_parts(model: MsStsVis, start: int, frames_T3HW: torch.Tensor, *further: Any) -> list[Part]:
    prediction = model(frames_T3HW[None].to(next(model.parameters()).device))
    return parts_of_window(prediction, start, (frames_T3HW.shape[-2], frames_T3HW.shape[-1]), *further)


def parts_of_window(
    prediction: Output,
    start: int,
    input_size: tuple[int, int],
    video_id: int,
    original_size: tuple[int, int],
    categories: list[tuple[int, str]],
    config: PredictSection,
) -> list[Part]:
    """What the queries of the `top_k` best (query, class) pairs of a window found, in the order of the queries.

    Args:
        prediction: Output of the model for the window.
        start: Position of its first frame in the video.
        input_size: (height, width) of the input of the network in pixels.
        video_id: As for `tracks_of_windows`, like the rest.
        original_size: Likewise.
        categories: Likewise.
        config: Likewise.

    Raises:
        InputError: If the scores, masks or boxes are not finite.
    """
    last = prediction.layers[-1]
    values = (last.logits_BNK, last.boxes_BTN4, last.mask_parameters_BNP, prediction.mask_features_BTCHW)
    if not all(value.isfinite().all() for value in values):
        raise InputError(
            f"video {video_id}: the scores, masks or boxes that the model predicts are not finite. Train the run "
            "again, with a lower learning rate."
        )
    # Differs: public SeqFormer also emits 0 and 41, which are no categories, if their logits are among the best.
    no_category_K = torch.tensor([not name for _, name in categories], device=last.logits_BNK.device)
    scores_NK = last.logits_BNK[0].sigmoid().masked_fill(no_category_K, -1.0)
    best = scores_NK.flatten().argsort(descending=True, stable=True)[: config.top_k]
    # Differs: public SeqFormer computes the masks of all queries after every layer; here only those of the chosen ones.
    queries = torch.unique(best[scores_NK.flatten()[best] >= 0] // len(categories))
    embeddings_NC = normalize(last.instances_BNC[0] - last.instances_BNC[0].mean(0))
    boxes_NT4 = boxes_at_video_size(last.boxes_BTN4[0, :, queries].transpose(0, 1), original_size)
    sizes = input_size, original_size
    return [
        Part(
            start,
            scores_NK[query].double().cpu().numpy(),
            embeddings_NC[query].cpu().numpy(),
            encoded_masks(prediction, query[None], *sizes, config.mask_threshold),
            boxes_T4.tolist(),
        )
        for query, boxes_T4 in zip(queries, boxes_NT4, strict=True)
    ]


def boxes_at_video_size(boxes_NT4: torch.Tensor, original_size: tuple[int, int]) -> np.ndarray:
    """Boxes in pixels of the video, not clipped to its frame.

    Args:
        boxes_NT4: cx, cy, width, height relative to the unpadded frame.
        original_size: (height, width) of the video in pixels.

    Returns:
        (N, T, 4) float64 x, y, width, height of the upper left corner and the size, rounded to hundredths of a pixel.
    """
    centre, extent = np.split(boxes_NT4.double().cpu().numpy(), 2, axis=-1)
    height, width = original_size
    boxes = np.concatenate([centre - extent / 2, extent], axis=-1) * (width, height, width, height)
    return boxes.round(2) + 0.0  # no -0.0


def encoded_masks(
    prediction: Output,
    query: torch.Tensor,
    input_size: tuple[int, int],
    original_size: tuple[int, int],
    threshold: float,
) -> list[dict[str, Any] | None]:
    """The masks of one query in all frames of a video, as run lengths; None where a mask is empty.

    Only `FRAMES_AT_ONCE` frames are held at the size of the video: the memory of all frames, or of all instances, would
    be that of the whole network.
    """
    logits_1THW = prediction.mask_logits(-1, 0, query)
    blocks = (
        masks_at_video_size(block, input_size, original_size, threshold)[0]
        for block in logits_1THW.split(FRAMES_AT_ONCE, 1)
    )
    return [mask for block_THW in blocks for mask in encode_track(block_THW)]


def masks_at_video_size(
    logits_NTHW: torch.Tensor, input_size: tuple[int, int], original_size: tuple[int, int], threshold: float
) -> np.ndarray:
    """Binary masks at the size of the video.

    Args:
        logits_NTHW: Mask logits at stride 4 of the input.
        input_size: (height, width) of the input of the network in pixels.
        original_size: (height, width) of the video in pixels.
        threshold: Probability above which a pixel belongs to the mask.

    Returns:
        (N, T, H, W) uint8.
    """
    resize = torch.nn.functional.interpolate
    # Differs: public SeqFormer stretches the grid at stride 4 over the whole video, although the grid extends beyond
    # the right and bottom edge of the input where 8 does not divide its size; here that margin is cropped first.
    logits = resize(logits_NTHW, scale_factor=4.0, mode="bilinear", align_corners=False)
    logits = logits[..., : input_size[0], : input_size[1]]
    if tuple(input_size) != tuple(original_size):
        logits = resize(logits, size=tuple(original_size), mode="bilinear", align_corners=False)
    return (logits > math.log(threshold / (1 - threshold))).to(torch.uint8).cpu().numpy()


def encode_track(masks_THW: np.ndarray) -> list[dict[str, Any] | None]:
    """One compressed RLE per frame of a track; None where the mask is empty."""
    runs = run_length.encode(np.asfortranarray(masks_THW.transpose(1, 2, 0)))
    return [
        run | {"counts": run["counts"].decode()} if mask_HW.any() else None
        for run, mask_HW in zip(runs, masks_THW, strict=True)
    ]
