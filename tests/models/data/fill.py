"""Weights, frames and targets of the parity case: pure functions of names, shapes and seeds (NumPy PCG64)."""

import zlib

import numpy as np
import torch


def deterministic_tensor(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Value of a parameter or buffer from its public name (`bbox_embed.*` for `transformer.decoder.bbox_embed.*`)."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    n = rng.standard_normal(int(np.prod(shape)) if len(shape) else 1).astype(np.float64).reshape(shape)
    leaf = key.rsplit(".", 1)[-1]
    if leaf == "running_var":
        v = 1 + 0.1 * np.abs(n)
    elif leaf == "weight" and len(shape) == 1:
        v = 1 + 0.1 * n
    elif leaf in ("running_mean", "bias") or len(shape) < 2:
        v = 0.1 * n
    else:
        v = n / np.sqrt(int(np.prod(shape[1:])))
    return torch.from_numpy(np.asarray(v, dtype=np.float32))


def state_dict(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """The whole mapping, from `keys.json`, without integer buffers (position indices of Swin)."""
    return {
        k: deterministic_tensor(k.replace("transformer.decoder.bbox_embed", "bbox_embed"), tuple(s))
        for k, s in shapes.items()
        if not k.endswith("relative_position_index")
    }


def frames(seed: int, T: int, H: int, W: int) -> torch.Tensor:
    """(T, 3, H, W) float32, standard normal: already normalised frames."""
    return torch.from_numpy(np.random.Generator(np.random.PCG64(seed)).standard_normal((T, 3, H, W)).astype(np.float32))


def target(seed: int, n: int, T: int, H: int, W: int) -> dict[str, torch.Tensor]:
    """n rectangular instances; labels (n,) in 1..40, boxes (n*T, 4) cxcywh normalised, masks (n*T, H, W) uint8."""
    r = np.random.Generator(np.random.PCG64(seed))
    masks = np.zeros((n, T, H, W), np.uint8)
    boxes = np.zeros((n, T, 4), np.float32)
    for i in range(n):
        for t in range(T):
            h = int(r.integers(H // 6, H // 2))
            w = int(r.integers(W // 6, W // 2))
            y = int(r.integers(0, H - h))
            x = int(r.integers(0, W - w))
            if bool(r.random() < 0.2) and t > 0:  # the instance is absent from this frame
                boxes[i, t] = 1e-6
                continue
            masks[i, t, y : y + h, x : x + w] = 1
            boxes[i, t] = [(x + w / 2) / W, (y + h / 2) / H, w / W, h / H]
    labels = r.integers(1, 41, size=n)
    return {
        "labels": torch.from_numpy(labels),
        "boxes": torch.from_numpy(boxes.reshape(n * T, 4)),
        "masks": torch.from_numpy(masks.reshape(n * T, H, W)),
        "size": torch.tensor([H, W]),
    }
