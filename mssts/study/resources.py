"""What the jobs of a study ask a scheduler for: GPUs, CPUs, memory and time. Imports no torch.

None of it changes a result. A cluster that needs other values replaces them in its profile (`set-resources`).
"""

from __future__ import annotations

from typing import NamedTuple

from mssts.config import Config

CPU_MB = 1500  # a process of the small models; the measured peak of the embedded scale is half of it
GPU_MB = 6000  # a process that uses a GPU: the libraries of CUDA, the weights, and copies of them for a checkpoint
WORKER_MB = 2000  # a process that prepares batches
# Inference on a CPU, for each megapixel of a video's frames. Measured with the paper's model and all contributions: 390
# at 18 frames of 360x640, 690 at 84 frames of 96x160.
MEGAPIXEL_MB = 800
ON_NODES = ("nodes", "mpi", "tasks", "tasks_per_node", "tasks_per_gpu", "cpus_per_task", "gres")  # keys of on_nodes
FACTORS = {"swin_l": 2}  # of memory and time, for backbones that need more than a ResNet


class Resources(NamedTuple):
    """Resources of a job, named as Snakemake's executors know them.

    Attributes:
        gpu: GPUs, of a job on one node.
        threads: CPUs.
        mem_mb: Memory of the machine, not of the GPUs.
        runtime: Minutes.
    """

    gpu: int
    threads: int
    mem_mb: int
    runtime: int


def of_training(config: Config, backbone: str) -> Resources:
    """Resources on one node of a training, by its configuration for that backbone; its time is that of one submission.

    Each process needs a CPU beside those of its loader workers. Without a GPU it needs `runtime.threads`.
    """
    execution, on_gpu, factor = config.execution, config.runtime.device == "cuda", FACTORS.get(backbone, 1)
    cpus = execution.workers + (1 if on_gpu else config.runtime.threads)
    memory = (GPU_MB if on_gpu else CPU_MB) * factor + (WORKER_MB if on_gpu else CPU_MB) * execution.workers
    gpus = execution.devices if on_gpu and execution.nodes == 1 else 0
    return Resources(gpus, execution.devices * cpus, execution.devices * memory, 1440 * factor)


def on_nodes(config: Config) -> dict[str, int | str]:
    """Further resources of a training, as Snakemake's executor for Slurm knows them: its nodes, and what each holds.

    On several nodes, Slurm reserves one task for each process, and the training itself starts them. There `gres` counts
    the GPUs of each node, where `gpu` would count those of all nodes.
    """
    execution, devices = config.execution, config.execution.devices
    if execution.nodes == 1:
        return {"nodes": 1}
    asked: dict[str, int | str] = {"nodes": execution.nodes, "mpi": "srun"}
    asked["cpus_per_task"] = of_training(config, "").threads // devices
    asked |= {"tasks_per_node": devices} if devices > 1 else {"tasks": execution.nodes}
    if config.runtime.device == "cuda":
        asked |= {"gres": f"gpu:{devices}", "tasks_per_gpu": 0}
    return asked


def of_inference(config: Config, backbone: str, longest: int) -> Resources:
    """Resources of a prediction, and of the attention maps: both compute on one device, and read videos themselves.

    The attention maps take a video in one piece, and so does a prediction up to `predict.window` frames. Without a GPU
    that takes memory of the machine in proportion to its frames.

    Args:
        config: Of the inference.
        backbone: Its backbone.
        longest: Frames of the longest video.
    """
    on_gpu, factor = config.runtime.device == "cuda", FACTORS.get(backbone, 1)
    megapixels = longest * config.predict.short_side**2 * 16 / 9 / 1e6
    memory = 2 * GPU_MB * factor if on_gpu else CPU_MB * factor + round(MEGAPIXEL_MB * megapixels)
    return Resources(int(on_gpu), config.runtime.threads, memory, 480 * factor)
