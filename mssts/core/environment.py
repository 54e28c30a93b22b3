"""The precision of float32 operations on CUDA, and records of a run: versions, device, memory."""

from __future__ import annotations

import platform
import resource
from pathlib import Path
from typing import Any

import torch


def set_tf32(tf32: bool) -> None:
    """Set whether CUDA rounds the inputs of float32 matrix products and convolutions to TensorFloat-32.

    PyTorch's own default does so for convolutions only. These are the flags that Fabric reads on a GPU; it fails if
    the newer `fp32_precision` flags are set.
    """
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32


def environment(device: torch.device, deformable_sampling: str) -> dict[str, Any]:
    """Versions, name and precision flags of the device that this process computes on, for run.json.

    Args:
        device: That device.
        deformable_sampling: How deformable attention samples there; recorded on CUDA only.
    """
    versions = {"python": platform.python_version(), "torch": str(torch.__version__)}
    record: dict[str, Any] = versions | {"device": _processor()}
    if device.type == "cuda":
        record |= {
            "device": torch.cuda.get_device_name(device),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "tf32_matrix_products": torch.backends.cuda.matmul.allow_tf32,
            "tf32_convolutions": torch.backends.cudnn.allow_tf32,
            "deformable_sampling": deformable_sampling,
        }
    return record | {"deterministic_algorithms": torch.are_deterministic_algorithms_enabled()}


def peak_memory(device: torch.device) -> dict[str, float]:
    """The most memory that this process has held at a time, in MB, for cost.json; on CUDA that of its tensors as well.

    Args:
        device: Where it computes.
    """
    peaks = {"peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    if device.type == "cuda":
        peaks["gpu_peak_memory_mb"] = torch.cuda.max_memory_allocated(device) / 1e6
    return peaks


def _processor() -> str:
    """Name of the CPU: on Linux from the kernel, because `platform` only knows the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
