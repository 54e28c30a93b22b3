"""Measure how much the predictions of a trained model in one frame depend on another frame.

    python benchmarks/frame_dependence.py CHECKPOINT [CHECKPOINT ...]
        [--scale embedded] [--dataset synthvis] [--split valid]

In every video, the middle frame is replaced by that of the next video of the same size. In the other frames, and for
the queries that found an instance (video IoU of their mask at least 0.5), it prints median and 95th percentile of

- the shift of the reference points that enter the last decoder layer, which place the masks, in pixels of the input;
- the absolute change of the mask's IoU with the instance in the frame.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mssts.data.datasets import VideoSplit, split_annotations
from mssts.data.videos import read_video
from mssts.inference.predict import load_run_model, masks_at_video_size
from mssts.models import MsStsVis
from mssts.study.paths import dataset_dir
from mssts.ytvis.tracks import Video


def overlap(masks: Tensor, truth: Tensor, over: tuple[int, ...]) -> Tensor:
    """IoU of bool masks over some dimensions; 1 where both are empty."""
    union = (masks | truth).sum(over)
    return torch.where(union > 0, (masks & truth).sum(over) / union.clamp(min=1), 1.0)


def references_and_masks(model: MsStsVis, video: Video, frames: Tensor) -> tuple[Tensor, Tensor]:
    """References of the last layer in pixels of the input (T, N, 2), and masks of all queries (N, T, H, W) bool."""
    with torch.inference_mode():
        output = model(frames[None])
    logits = output.mask_logits(-1, 0, torch.arange(output.logits.shape[1]))
    masks = masks_at_video_size(logits, (frames.shape[2], frames.shape[3]), (video.height, video.width), 0.5)
    return output.layers[-1].references_BTN2[0] * output.sizes_B2[0], torch.from_numpy(masks).bool()


def measure(model: MsStsVis, split: VideoSplit, videos: list[tuple[Video, Tensor]]) -> tuple[np.ndarray, np.ndarray]:
    """Shifts in pixels and changes of IoU, one for each found instance and frame that shows it."""
    shifts, changes = [], []
    for position, (video, frames) in enumerate(videos):
        following = (others for _, others in videos[position + 1 :] + videos[:position])
        others = next(others for others in following if others.shape[1:] == frames.shape[1:])
        middle = len(frames) // 2
        replaced = frames.clone()
        replaced[middle] = others[len(others) // 2]
        (before, masks), (after, masks_after) = (references_and_masks(model, video, x) for x in (frames, replaced))
        kept = torch.arange(len(frames)) != middle
        for track in (track for track in split.annotations.tracks_of[video.id] if not track.crowd):
            truth = torch.from_numpy(track.masks.decode(range(video.length))).bool()
            overlaps = overlap(masks, truth, (1, 2, 3))
            query = int(overlaps.argmax())
            shown = kept & truth.flatten(1).any(1)
            if overlaps[query] < 0.5:
                continue
            shifts.append((after - before)[shown, query].norm(dim=-1))
            first, second = (overlap(found[query], truth, (1, 2)) for found in (masks, masks_after))
            changes.append((second - first)[shown].abs())
    return torch.cat(shifts).numpy(), torch.cat(changes).numpy()


def main() -> None:
    """Print one line for each checkpoint."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--scale", default="embedded")
    parser.add_argument("--dataset", default="synthvis")
    parser.add_argument("--split", default="valid")
    options = parser.parse_args()
    torch.set_num_threads(1)
    split = split_annotations(options.dataset, dataset_dir(options.scale, options.dataset), options.split)
    print(f"{'checkpoint':60}  pairs  shift of references [px]   change of mask IoU")
    for checkpoint in options.checkpoints:
        model, config, _ = load_run_model(checkpoint)
        videos = [
            (video, read_video(split, video, config.predict.short_side, config.data)[0]) for video in split.videos
        ]
        found = measure(model, split, videos)
        columns = "   ".join(f"median {np.median(x):.4f}, 95 % {np.percentile(x, 95):.4f}" for x in found)
        print(f"{str(checkpoint.parent)[-60:]:60}  {len(found[0]):5}  {columns}")


if __name__ == "__main__":
    main()
