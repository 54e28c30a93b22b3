"""Hungarian matching of queries and ground truth, per clip and decoder layer.

Shape letters: L decoder layers, B clips, T frames, N queries, K classes, M most instances in a clip of the batch,
P matched pairs of the batch (the same number in every layer).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mssts.config import LossSection
from mssts.core.errors import InputError
from mssts.core.records import Batch, Instances
from mssts.models import Output
from mssts.ops.boxes import cxcywh_to_xyxy, generalized_iou
from mssts.ops.precision import in_full_precision

EPSILON = 1e-8  # [code] keeps the logarithm of the class cost finite


@dataclass(frozen=True)
class Matches:
    """Which query is responsible for which instance.

    Attributes:
        queries_LP: int64, index of the query in its clip.
        targets_LP: int64, index of the instance in the concatenation of the instances of all clips.
        clips_P: int64, index of the clip, ascending.
        counts: Number of pairs of each clip; they sum to P.
    """

    queries_LP: Tensor
    targets_LP: Tensor
    clips_P: Tensor
    counts: tuple[int, ...]

    def queries(self, layer: int, clip: int) -> Tensor:
        """Matched queries of one clip in one decoder layer (negative: counted from the last), (n,) int64."""
        start = sum(self.counts[:clip])
        return self.queries_LP[layer, start : start + self.counts[clip]]


class Matcher:
    """Assigns one query to each instance at the least total cost.

    The cost is class * focal cost + box * Euclidean distance over the 4T box numbers (the public code calls it L1)
    + giou * (-GIoU averaged over T) [code]. If there are more instances than queries, some instances stay unmatched
    [ours].

    Args:
        config: Section `loss`.
    """

    def __init__(self, config: LossSection) -> None:
        self.config = config

    def __call__(self, output: Output, batch: Batch) -> Matches:
        """Match every decoder layer of every clip on its own: `costs`, a copy to the host, `assign`.

        Raises:
            InputError: A cost is not finite.
        """
        return self.assign(self.costs(output, batch).cpu().numpy(), output, batch)

    @torch.no_grad()
    def costs(self, output: Output, batch: Batch) -> Tensor:
        """Cost of every query for every instance of its clip, on the device of the output.

        Returns:
            (L, B, N, M), in full precision, with arbitrary values beyond a clip's own instances.
        """
        logits_LBNK = torch.stack([layer.logits_BNK for layer in output.layers])
        boxes_LBTN4 = torch.stack([layer.boxes_BTN4 for layer in output.layers])
        return self.pair_costs(logits_LBNK, boxes_LBTN4, batch.instances)

    def assign(self, costs_LBNM: np.ndarray, output: Output, batch: Batch) -> Matches:
        """Solve the L * B assignment problems on the host. All indices go to the device in one transfer.

        Args:
            costs_LBNM: Result of `costs`, on the host.
            output: Output of the model; it gives the device of the matches.
            batch: The clips and their ground truth.

        Raises:
            InputError: A cost is not finite.
        """
        _require_finite(costs_LBNM, output)
        return _assign(costs_LBNM, [len(clip.labels_N) for clip in batch.instances], output.layers[0].logits_BNK.device)

    def pair_costs(self, logits_LBNK: Tensor, boxes_LBTN4: Tensor, instances: tuple[Instances, ...]) -> Tensor:
        """The costs of predictions of all layers.

        Args:
            logits_LBNK: Class logits.
            boxes_LBTN4: Boxes (cx, cy, w, h) relative to the frame.
            instances: Ground truth of each clip.

        Returns:
            See `costs`.
        """
        logits_LBNK, boxes_LBTN4 = in_full_precision(logits_LBNK), in_full_precision(boxes_LBTN4)
        layers = len(logits_LBNK)
        labels_BM = pad_sequence([clip.labels_N for clip in instances], batch_first=True)
        targets_BMT4 = pad_sequence([clip.boxes_NT4 for clip in instances], batch_first=True, padding_value=0.5)
        targets_BMT4 = targets_BMT4.to(boxes_LBTN4)
        boxes_LBNT4 = boxes_LBTN4.transpose(2, 3)

        class_costs_LBNK = self.class_costs(logits_LBNK)
        indices_LBNM = labels_BM[None, :, None].expand(layers, -1, logits_LBNK.shape[2], -1)
        class_costs_LBNM = class_costs_LBNK.gather(3, indices_LBNM)
        distances_LBNM = torch.cdist(
            boxes_LBNT4.flatten(3), targets_BMT4.flatten(2), compute_mode="donot_use_mm_for_euclid_dist"
        )
        overlaps_LBNMT = generalized_iou(
            cxcywh_to_xyxy(boxes_LBNT4)[:, :, :, None], cxcywh_to_xyxy(targets_BMT4)[:, None]
        )
        weights = self.config.matching
        return weights.class_ * class_costs_LBNM + weights.box * distances_LBNM - weights.giou * overlaps_LBNMT.mean(-1)

    def class_costs(self, logits: Tensor) -> Tensor:
        """Focal loss of a positive answer minus that of a negative one, for each logit [code]: (...) -> (...)."""
        probabilities = logits.sigmoid()
        alpha, gamma = self.config.focal_alpha, self.config.focal_gamma
        positive = alpha * (1 - probabilities) ** gamma * -(probabilities + EPSILON).log()
        negative = (1 - alpha) * probabilities**gamma * -(1 - probabilities + EPSILON).log()
        return positive - negative


def _assign(costs_LBNM: np.ndarray, sizes: list[int], device: torch.device) -> Matches:
    first_targets = np.cumsum([0, *sizes[:-1]])
    counts = tuple(min(size, costs_LBNM.shape[2]) for size in sizes)
    pairs = [
        linear_sum_assignment(costs_NM[:, :size])
        for costs_BNM in costs_LBNM
        for costs_NM, size in zip(costs_BNM, sizes, strict=True)
    ]
    shape = (len(costs_LBNM), sum(counts))
    queries = np.concatenate([queries for queries, _ in pairs]).reshape(shape)
    targets = np.concatenate([targets + first_targets[i % len(sizes)] for i, (_, targets) in enumerate(pairs)])
    clips = np.repeat(np.arange(len(sizes)), counts)
    indices = torch.from_numpy(np.concatenate([queries, targets.reshape(shape), clips[None]]).astype(np.int64))
    queries_LP, targets_LP, clips_1P = indices.to(device).split((shape[0], shape[0], 1))
    return Matches(queries_LP, targets_LP, clips_1P[0], counts)


def _require_finite(costs_LBNM: np.ndarray, output: Output) -> None:
    if np.isfinite(costs_LBNM).all():
        return
    layer, clip, query, instance = (int(i) for i in np.argwhere(~np.isfinite(costs_LBNM))[0])
    predicted = {"class logits": output.layers[layer].logits_BNK, "boxes": output.layers[layer].boxes_BTN4}
    found = [
        f"{name} {'are finite' if bool(values[clip].isfinite().all()) else 'contain NaN or infinity'}"
        for name, values in predicted.items()
    ]
    raise InputError(
        f"matching: decoder layer {layer}, clip {clip} of the batch, query {query}, instance {instance}: found cost "
        f"{costs_LBNM[layer, clip, query, instance]} ({', '.join(found)}), expected a finite number. The training has "
        "diverged: lower train.learning_rate or train.gradient_clip_norm; if the predictions are finite, check the "
        "boxes of the annotation file."
    )
