"""Deformable sampling on a CPU without gradients: rows of a table of values are gathered and added up."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mssts.ops.precision import in_full_precision


def sample_gathered(
    values_BTSC: Tensor, locations_BTQMLP2: Tensor, weights_BTQMLP: Tensor, shapes: Sequence[Sequence[int]]
) -> Tensor:
    """As `mssts.ops.attention.DeformableSampling.forward`, up to rounding. Fastest if no argument has to be copied.

    A frame is sampled at a time, so that its values stay in the cache. Around each level lie zeros: every location,
    moved to the border if it is outside of it, then has four neighbours in the table, and no case needs a mask.
    """
    values_BTSC, weights_BTQMLP = in_full_precision(values_BTSC), in_full_precision(weights_BTQMLP)
    B, T, Q, M, L, P = weights_BTQMLP.shape
    C, device = values_BTSC.shape[-1], values_BTSC.device
    padded = [(height + 3, width + 3) for height, width in shapes]  # one before, two after: a neighbour of the border
    *starts, end = torch.tensor([0] + [height * width for height, width in padded]).cumsum(0).tolist()

    def of_samples(per_level: list[int]) -> Tensor:
        """(L,) -> (M*L*P,), in the order of a query's samples."""
        return torch.tensor(per_level, dtype=torch.int32, device=device).repeat_interleave(P).repeat(M)

    extents = torch.stack([of_samples([shape[1] for shape in shapes]), of_samples([shape[0] for shape in shapes])], -1)
    extents_X2 = extents.to(locations_BTQMLP2.dtype).flatten()
    half_X2 = torch.full_like(extents_X2, 0.5)
    rows_X = of_samples([M * width for _, width in padded])
    first_X = of_samples([M * start for start in starts])
    first_X += torch.arange(M, dtype=torch.int32, device=device).repeat_interleave(L * P)

    table = values_BTSC.new_zeros(end, C)
    levels = [table[start : start + h * w].view(h, w, C) for start, (h, w) in zip(starts, padded, strict=True)]
    output = values_BTSC.new_empty(B, T, Q, C)
    for b in range(B):
        for t in range(T):
            parts = values_BTSC[b, t].split([height * width for height, width in shapes])
            for level, part, (height, width) in zip(levels, parts, shapes, strict=True):
                level[1 : height + 1, 1 : width + 1] = part.view(height, width, C)
            # Cells from the border; a location that is not a number counts as outside.
            cells = torch.addcmul(half_X2, locations_BTQMLP2[b, t].reshape(Q, -1), extents_X2).nan_to_num_(0)
            cells = torch.minimum(cells.clamp_(min=0), extents_X2 + 1)
            right, below = (part.contiguous() for part in cells.view(Q, -1, 2).unbind(-1))
            x, y = right.int(), below.int()
            right -= x
            below -= y
            corner = y.mul_(rows_X).add_(x.mul_(M)).add_(first_X)  # row of the neighbour to the upper left
            weights = weights_BTQMLP[b, t].reshape(Q, -1)
            lower = weights * below
            upper = weights - lower
            beside = upper * right, lower * right
            corners = ((0, upper - beside[0]), (M, beside[0]), (rows_X, lower - beside[1]), (rows_X + M, beside[1]))
            sums = [
                F.embedding_bag(
                    (corner + offset).view(Q * M, L * P),
                    table.view(end * M, C // M),
                    per_sample_weights=share.view(Q * M, L * P),
                    mode="sum",
                )
                for offset, share in corners
            ]
            output[b, t] = torch.stack(sums).sum(0).view(Q, C)
    return output
