"""Time and memory of prediction on one CPU thread, of this checkout, of another one, and of the public SeqFormer.

    python benchmarks/inference.py [--public DIRECTORY] [--other DIRECTORY] [--rounds 5] [--growth]

--public is a checkout of the public SeqFormer, whose attention runs in its pure PyTorch form. --other is another
version of this repository. The weights of ResNet-50 are random and equal. A clip has 360x640 pixels.

Measured are the network alone, and the whole way from frames to run-length masks at 720p of the ten best. Printed are
also the largest difference of the logits and the number of different pixels. `--growth` instead measures time and
memory against the number of frames, the size of the frames, the number of queries, and the length of a video that is
predicted in windows, in one round.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import public_code
import rounds

HEIGHT, WIDTH, VIDEO_SIZE = 360, 640, (720, 1280)
TOP, LOGITS, QUERIES = 10, 42, 300
CASES = ((5, "network"), (5, "masks"), (10, "masks"))  # number of frames, and what is measured
GROWTH_FRAMES, PUBLIC_FRAMES = (1, 2, 5, 10, 36), 5  # the public code gets no more frames, to save time
GROWTH_SIZES = ((180, 320), (360, 640), (720, 1280))  # of clips of two frames
GROWTH_QUERIES = (100, 300, 900)  # of clips of two frames
GROWTH_LENGTHS, LENGTH_SIZE, WINDOW, OVERLAP = (10, 50, 100, 200), (96, 160), 10, 2  # of videos in windows
Functions = dict[str, Callable[[Any], Any]]


def clip(frames: int, height: int, width: int, still: bool = False) -> Any:
    """A random clip, (T, 3, H, W), of which a still one repeats a frame without more memory."""
    import torch

    generator = torch.Generator().manual_seed(frames)
    drawn = torch.randn(1 if still else frames, 3, height, width, generator=generator)
    return drawn.expand(frames, -1, -1, -1)


def public_functions(directory: Path, weights: Path) -> Functions:
    """The network alone, which gives its logits (N, K), and the way to masks: run lengths of the best in order."""
    import torch
    import torch.nn.functional as F
    from pycocotools import mask as coco_mask

    model = public_code.build(directory)[0].eval()
    model.load_state_dict(torch.load(weights, weights_only=True)["model"])

    def infer(frames: Any) -> Any:
        model.detr.num_frames = len(frames)
        return model.inference(frames, *reversed(frames.shape[2:]))

    def masks(frames: Any) -> Any:
        output, encoded = infer(frames), {}
        pairs = output["pred_logits"][0].sigmoid().flatten().topk(TOP).indices
        queries = (pairs // LOGITS).tolist()
        for query in dict.fromkeys(queries):
            logits = F.interpolate(output["pred_masks"][0, query][:, None], VIDEO_SIZE, mode="bilinear")
            pixels = (logits.sigmoid().numpy() > 0.5)[:, 0].astype("uint8")
            encoded[query] = [coco_mask.encode(frame.copy(order="F")) for frame in pixels]
        return [encoded[query] for query in queries]

    return {"network": lambda frames: infer(frames)["pred_logits"][0], "masks": masks}


def own_functions(checkpoint: Path) -> Functions:
    """As `public_functions`, of the version of this repository that is on the path."""
    from mssts.inference.predict import load_run_model, predict_video

    model, config, categories = load_run_model(checkpoint)
    try:
        from mssts.models.faster import faster
    except ImportError:  # of an earlier version
        pass
    else:
        model = faster(model)
    section = config.predict.model_copy(update={"top_k": TOP})

    def masks(frames: Any) -> Any:
        return [entry["segmentations"] for entry in predict_video(model, frames, 1, VIDEO_SIZE, categories, section)[0]]

    def windows(frames: Any) -> Any:
        """Of a video whose frames are all the first of these, each made when it is read."""
        in_windows = section.model_copy(update={"window": WINDOW, "overlap": OVERLAP})
        video, size = (frames[0].clone() for _ in frames), tuple(frames.shape[2:])
        return predict_video(model, video, 1, size, categories, in_windows)[0]

    return {"network": lambda frames: model(frames[None]).logits[0], "masks": masks, "windows": windows}


def serve(weights: str, folder: str, public: str | None = None) -> rounds.Answers:
    """Answer with time or memory of a clip; the result of the first question of each case goes to a file."""
    import torch

    torch.set_num_threads(1)
    rounds.LASTING.enter_context(torch.inference_mode())
    functions = public_functions(Path(public), Path(weights)) if public else own_functions(Path(weights))
    meter = rounds.Meter()

    def answer(frames: int, what: str, height: int = HEIGHT, width: int = WIDTH) -> dict[str, Any]:
        found, measured = meter(functions[what], clip(frames, height, width, still=what == "windows"))
        if not (result := Path(folder) / f"{frames}-{what}.pt").exists():
            torch.save(found, result)
        return measured

    return meter, answer


def settings(options: argparse.Namespace, folder: Path, queries: int = QUERIES) -> dict[str, dict[str, Any]]:
    """Settings of each contender, after random weights have been written: by the public code, and imported."""
    import torch

    from mssts.inference.import_weights import import_weights

    public, own = folder / "public.pth", folder / "checkpoint.pt"
    if options.public:
        torch.save({"model": public_code.build(options.public)[0].state_dict()}, public)
        import_weights(public, own)
    else:
        write_random_weights(own, queries)
    found: dict[str, dict[str, Any]] = {"this": {"weights": str(own)}}
    if options.public:
        found["public"] = {"weights": str(public), "public": str(options.public)}
    if options.other:
        found["other"] = {"weights": str(own)}
    for name, values in found.items():
        values["folder"] = str(folder / name)
        (folder / name).mkdir()
    return found


def write_random_weights(path: Path, queries: int) -> None:
    """A checkpoint with random weights and another number of queries."""
    from mssts.config import ABLATIONS, canonical, load_baseline
    from mssts.core.checkpoint import save_checkpoint
    from mssts.models import build_model

    config = load_baseline(rounds.HERE / ABLATIONS)
    config = config.model_copy(update={"model": config.model.model_copy(update={"queries": queries})})
    weights = build_model(config.model, "resnet50", LOGITS).state_dict()
    content = {"model": weights, "backbone": "resnet50", "config": canonical(config)}
    save_checkpoint(path, content | {"categories": [[number, f"kind {number}"] for number in range(LOGITS)]})


def differences(folder: Path, names: tuple[str, str]) -> Iterator[str]:
    """Largest difference of two contenders' logits, and number of pixels that differ in the masks of the best."""
    import torch
    from pycocotools import mask as coco_mask

    for frames, what in CASES:
        found = [torch.load(folder / name / f"{frames}-{what}.pt", weights_only=False) for name in names]
        if what == "network":
            largest = (found[0] - found[1]).abs().max()
            yield f"T={frames}: logits of {' and '.join(names)} differ by at most {largest:.2g}"
            continue
        pixels = 0
        for tracks in zip(*found, strict=True):
            for masks in zip(*tracks, strict=True):
                full = [coco_mask.decode(mask) if mask else 0 for mask in masks]
                pixels += int((full[0] != full[1]).sum())
        yield f"T={frames}: masks of {' and '.join(names)} differ in {pixels} pixels"


def measure_cases(options: argparse.Namespace) -> Iterator[rounds.Row]:
    """Rows of the network and of the way to masks."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        with rounds.contenders(__file__, settings(options, folder), options.other) as started:
            for frames, what in CASES:
                case = f"T={frames}, {HEIGHT}x{WIDTH}, ResNet-50, " + ("masks at 720p" if what == "masks" else what)
                yield from rounds.compare("inference", case, started, options.rounds, frames=frames, what=what)[0]
        for contender in [contender for contender in started if contender != "this"]:
            print(*differences(folder, ("this", contender)), sep="\n", flush=True)


def measure_growth(options: argparse.Namespace) -> Iterator[rounds.Row]:
    """Rows of the way to masks against frames, size, queries, and the length of a video in windows."""

    def row(benchmark: str, case: str, what: str = "masks", **question: Any) -> list[rounds.Row]:
        return rounds.compare(benchmark, case, started, 1, what=what, **question)[0]

    with (
        TemporaryDirectory() as name,
        rounds.contenders(__file__, settings(options, Path(name)), options.other) as all_,
    ):
        for frames in GROWTH_FRAMES:
            started = {n: one for n, one in all_.items() if n != "public" or frames <= PUBLIC_FRAMES}
            yield from row("frames", f"{frames}", frames=frames)
        started = all_
        for height, width in GROWTH_SIZES:
            yield from row("size", f"{height}x{width}", frames=2, height=height, width=width)
        started = {"this": all_["this"]}  # the public code has no windows, and neither has an earlier version
        for frames in GROWTH_LENGTHS:
            yield from row("length", f"{frames}", "windows", frames=frames, height=LENGTH_SIZE[0], width=LENGTH_SIZE[1])
    own = argparse.Namespace(public=None, other=options.other)  # the public code has 300 queries
    for queries in GROWTH_QUERIES:
        with (
            TemporaryDirectory() as name,
            rounds.contenders(__file__, settings(own, Path(name), queries), options.other) as started,
        ):
            yield from row("queries", f"{queries}", frames=2)


def measure(options: argparse.Namespace) -> Iterator[rounds.Row]:
    """Rows of the cases, or of the growth."""
    return measure_growth(options) if options.growth else measure_cases(options)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--growth", action="store_true", help="measure against frames, size, queries and length")
    rounds.run(parser, measure, serve)
