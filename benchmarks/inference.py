"""Time and memory of prediction on one CPU thread, of this checkout, of another one, and of the public SeqFormer.

    python benchmarks/inference.py --public DIRECTORY [--other DIRECTORY] [--frames 5 10] [--rounds 5] [--csv FILE]

--public is a checkout of the public SeqFormer, whose attention runs in its pure PyTorch form. --other is another
version of this repository. Each contender runs in its own process. The weights of ResNet-50 are random and equal: made
by the public code, and imported. A clip has 360x640 pixels.

Two things are timed, in interleaved rounds: the network alone, and the whole way from frames to run-length masks at
720p of the ten best. Printed are medians of the processor time, and the median of the rounds' ratios with their range;
the peak of memory above that of the loaded model; the largest difference of the logits and the number of different
pixels.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).resolve().parents[1]
HEIGHT, WIDTH, VIDEO_SIZE = 360, 640, (720, 1280)
TOP, LOGITS = 10, 42
PUBLIC_OPTIONS = {  # those that its model reads, at its defaults and those of its script for ResNet-50
    "dataset_file": "YoutubeVIS", "device": "cpu", "masks": True, "with_box_refine": True, "rel_coord": True,
    "backbone": "resnet50", "dilation": False, "position_embedding": "sine", "lr_backbone": 0.0,
    "num_feature_levels": 4, "enc_layers": 6, "dec_layers": 6, "dim_feedforward": 1024, "hidden_dim": 256,
    "dropout": 0.1, "nheads": 8,
    "num_queries": 300, "dec_n_points": 4, "enc_n_points": 4, "mask_out_stride": 4, "aux_loss": True, "num_frames": 1,
    "set_cost_class": 2, "set_cost_bbox": 5, "set_cost_giou": 2, "mask_loss_coef": 2, "dice_loss_coef": 5,
    "cls_loss_coef": 2, "bbox_loss_coef": 5, "giou_loss_coef": 2, "focal_alpha": 0.25, "jointfinetune": False,
}  # fmt: skip
Functions = tuple[Callable[[Any], Any], Callable[[Any], Any]]


def public_model(directory: Path) -> Any:
    """The public model with random weights; its CUDA extension and its test of old torchvision versions are avoided."""
    import types

    import torch
    import torchvision

    sys.path.insert(0, str(directory))
    sys.modules["MultiScaleDeformableAttention"] = types.ModuleType("MultiScaleDeformableAttention")
    version, torchvision.__version__ = torchvision.__version__, "0.9"
    import models
    import models.ops.functions.ms_deform_attn_func as attention
    import models.ops.modules.ms_deform_attn as module

    torchvision.__version__ = version

    def sample(values: Any, shapes: Any, _start: Any, locations: Any, weights: Any, _step: int) -> Any:
        return attention.ms_deform_attn_core_pytorch(values, shapes.tolist(), locations, weights)

    module.MSDeformAttnFunction = types.SimpleNamespace(apply=sample)
    torch.manual_seed(0)
    resnet = torchvision.models.resnet50  # its weights are not downloaded
    torchvision.models.resnet50 = lambda pretrained, **keys: resnet(**keys)
    options = argparse.Namespace(**PUBLIC_OPTIONS)
    model, _, _ = models.build_model(options)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("sampling_offsets.weight", "attention_weights.weight")):
                parameter.normal_(0, 0.02)
    return model.eval()


def clip(frames: int) -> Any:
    """A random clip, (T, 3, H, W)."""
    import torch

    return torch.randn(frames, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(frames))


def public_functions(directory: Path, weights: Path) -> Functions:
    """The network alone, which gives its logits (N, K), and the way to masks: run lengths of the best in order."""
    import torch
    import torch.nn.functional as F
    from pycocotools import mask as coco_mask

    model = public_model(directory)
    model.load_state_dict(torch.load(weights, weights_only=True)["model"])

    def infer(frames: Any) -> Any:
        model.detr.num_frames = len(frames)
        return model.inference(frames, WIDTH, HEIGHT)

    def masks(frames: Any) -> Any:
        output, encoded = infer(frames), {}
        pairs = output["pred_logits"][0].sigmoid().flatten().topk(TOP).indices
        queries = (pairs // LOGITS).tolist()
        for query in dict.fromkeys(queries):
            logits = F.interpolate(output["pred_masks"][0, query][:, None], VIDEO_SIZE, mode="bilinear")
            pixels = (logits.sigmoid().numpy() > 0.5)[:, 0].astype("uint8")
            encoded[query] = [coco_mask.encode(frame.copy(order="F")) for frame in pixels]
        return [encoded[query] for query in queries]

    return lambda frames: infer(frames)["pred_logits"][0], masks


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

    return lambda frames: model(frames[None]).logits[0], masks


def memory(field: str) -> int:
    """Bytes that the system states for this process."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field)]
    return 1024 * int(line.split()[1])


def serve(functions: Functions) -> None:
    """Answer each line (number of frames, index of the function, file for the result) with seconds and peak memory."""
    import torch

    torch.set_num_threads(1)
    loaded = memory("VmRSS")
    with torch.inference_mode():
        for line in sys.stdin:
            frames, index, result = json.loads(line)
            batch = clip(frames)
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
            start = time.process_time()
            found = functions[index](batch)
            seconds = time.process_time() - start
            answer = {"seconds": seconds, "peak": memory("VmHWM") - loaded}
            torch.save(found, result)
            print(json.dumps(answer), flush=True)


def write_weights(public: Path, folder: Path) -> None:
    """Random weights of the public code in its format, and imported."""
    import torch

    from mssts.inference.import_weights import import_weights

    torch.save({"model": public_model(public).state_dict()}, folder / "public.pth")
    import_weights(folder / "public.pth", folder / "checkpoint.pt")


def differences(folder: Path, frames: int, names: tuple[str, str]) -> tuple[float, int]:
    """Largest difference of two contenders' logits, and number of pixels that differ in the masks of the best."""
    import torch
    from pycocotools import mask as coco_mask

    logits = [torch.load(folder / f"{name}-{frames}-0.pt") for name in names]
    masks = [torch.load(folder / f"{name}-{frames}-1.pt", weights_only=False) for name in names]
    pixels = 0
    for pair in zip(*masks, strict=True):
        for first, second in zip(*pair, strict=True):
            full = [coco_mask.decode(mask) if mask else 0 for mask in (first, second)]
            pixels += int((full[0] != full[1]).sum())
    return float((logits[0] - logits[1]).abs().max()), pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--public", type=Path, help="directory of the public SeqFormer")
    parser.add_argument("--other", type=Path, help="directory of another version of this repository")
    parser.add_argument("--frames", type=int, nargs="+", default=[5, 10])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--serve", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        paths = [Path(word) for word in options.serve]
        serve(public_functions(*paths) if len(paths) == 2 else own_functions(*paths))
        return
    if not options.public:
        parser.error("name a checkout of the public SeqFormer: --public DIRECTORY")
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_weights(options.public, folder)
        contenders = {
            "this": (HERE, [folder / "checkpoint.pt"]),
            "public": (HERE, [options.public.resolve(), folder / "public.pth"]),
        }
        if options.other:
            contenders["other"] = (options.other.resolve(), [folder / "checkpoint.pt"])
        workers = {
            name: subprocess.Popen(
                [sys.executable, __file__, "--serve", *map(str, paths)],
                env=os.environ | {"PYTHONPATH": str(directory), "OMP_NUM_THREADS": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for name, (directory, paths) in contenders.items()
        }

        def ask(name: str, frames: int, index: int) -> dict[str, float]:
            pipes = workers[name].stdin, workers[name].stdout
            print(json.dumps([frames, index, str(folder / f"{name}-{frames}-{index}.pt")]), file=pipes[0], flush=True)
            return json.loads(pipes[1].readline())

        rows = []
        for frames, (index, what) in ((f, w) for f in options.frames for w in enumerate(("network", "with masks"))):
            for name in workers:
                ask(name, frames, index)  # a first call allocates
            rounds = [{name: ask(name, frames, index) for name in workers} for _ in range(options.rounds)]
            for name in workers:
                ratios = [answers[name]["seconds"] / answers["this"]["seconds"] for answers in rounds]
                row = {
                    "frames": frames,
                    "what": what,
                    "version": name,
                    "seconds": round(statistics.median(answers[name]["seconds"] for answers in rounds), 3),
                    "ratio": round(statistics.median(ratios), 3),
                    "smallest": round(min(ratios), 3),
                    "largest": round(max(ratios), 3),
                    "peak_MB": round(max(answers[name]["peak"] for answers in rounds) / 1e6),
                }
                rows.append(row)
                print(*(f"{key} {value}" for key, value in row.items()), sep=", ", flush=True)
        for frames in options.frames:
            for name in [name for name in workers if name != "this"]:
                logits, pixels = differences(folder, frames, ("this", name))
                print(f"frames {frames}, {name}: logits differ by at most {logits:.2g}, masks in {pixels} pixels")
        for worker in workers.values():
            worker.stdin.close()
            worker.wait()
    if options.csv:
        with options.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
