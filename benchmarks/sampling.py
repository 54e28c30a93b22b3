"""Time and memory of the sampling of deformable attention alone, without its projections.

    python benchmarks/sampling.py [--public DIRECTORY] [--other DIRECTORY] [--rounds 5]

The inputs are those of the first encoder layer of a model with ResNet-50 and random weights, for a random clip. Each
contender gets them as its own model arranges them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import public_code
import rounds

CASES = ((5, 360, 640), (3, 192, 320))  # frames, height, width
CLASSES = 42


class Captured(Exception):
    """The inputs of the operator, which end the forward pass of the model."""


def own_operator(clip: Any) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """The operator of the version of this repository that is on the path, and its arguments."""
    from mssts.config import ABLATIONS, load_baseline
    from mssts.models import build_model

    def capture(_: Any, arguments: Any, keywords: Any) -> None:
        raise Captured(arguments, keywords)

    model = build_model(load_baseline(Path.cwd() / ABLATIONS).model, "resnet50", CLASSES).eval()
    operator = next(module for name, module in model.named_modules() if name.endswith(".sample"))
    hook = operator.register_forward_pre_hook(capture, with_kwargs=True)
    try:
        model(clip[None])
    except Captured as captured:
        hook.remove()
        return operator, *captured.args
    raise AssertionError("the model does not sample")


def public_operator(directory: Path, clip: Any) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """As `own_operator`, of the public code."""

    def capture(*arguments: Any) -> None:
        raise Captured(arguments)

    model = public_code.build(directory)[0].eval()
    model.detr.num_frames = len(clip)
    module = sys.modules["models.ops.modules.ms_deform_attn"].MSDeformAttnFunction
    operator, module.apply = module.apply, capture
    try:
        model.inference(clip, *reversed(clip.shape[2:]))
    except Captured as captured:
        return operator, *captured.args, {}
    raise AssertionError("the model does not sample")


def serve(frames: int, height: int, width: int, backward: bool, public: str | None = None) -> rounds.Answers:
    """Answer with time or memory of the operator, and of its backward pass."""
    import torch

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)  # else the graph of the network would be held until the first answer
    clip = torch.randn(frames, 3, height, width, generator=torch.Generator().manual_seed(0))
    operator, arguments, keywords = public_operator(Path(public), clip) if public else own_operator(clip)
    inputs = [
        value.detach().requires_grad_(backward) if torch.is_tensor(value) and value.is_floating_point() else value
        for value in arguments
    ]
    torch.set_grad_enabled(backward)

    def call() -> None:
        output = operator(*inputs, **keywords)
        if backward:
            output.sum().backward()

    meter = rounds.Meter()

    def answer() -> dict[str, Any]:
        for value in inputs:
            if torch.is_tensor(value):
                value.grad = None
        return meter(call)[1]

    return meter, answer


def measure(options: argparse.Namespace) -> Iterator[rounds.Row]:
    """Rows of each size, forward and with the backward pass."""
    directories = {"this": None, "public": options.public, "other": options.other}
    for frames, height, width in CASES:
        for backward in (False, True):
            settings = {
                name: {"frames": frames, "height": height, "width": width, "backward": backward}
                for name, directory in directories.items()
                if directory or name == "this"
            }
            if options.public:
                settings["public"]["public"] = str(options.public)
            case = f"T={frames}, {height}x{width}, forward" + (" and backward" if backward else "")
            with rounds.contenders(__file__, settings, options.other) as started:
                yield from rounds.compare("sampling", case, started, options.rounds)[0]


if __name__ == "__main__":
    rounds.run(argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]), measure, serve)
