"""Precision settings reach PyTorch, and the record says what is set."""

import platform

import pytest
import torch

from mssts.core.environment import environment, peak_memory, set_tf32


@pytest.mark.parametrize(("tf32", "precision"), [(True, "high"), (False, "highest")])
def test_tf32_is_set_for_matrix_products_and_convolutions_alike(tf32, precision):
    try:
        set_tf32(tf32)
        assert torch.backends.cuda.matmul.allow_tf32 == torch.backends.cudnn.allow_tf32 == tf32
        assert torch.get_float32_matmul_precision() == precision  # Fabric asks for it on a GPU
    finally:
        set_tf32(False)


def test_the_record_of_a_cpu_names_the_processor_and_no_gpu():
    record = environment(torch.device("cpu"), "grid_sample")
    assert record["python"] == platform.python_version() and record["torch"] == torch.__version__
    assert record["device"] and not {"cuda", "deformable_sampling"} & record.keys()


def test_on_a_gpu_its_peak_memory_stands_beside_that_of_the_machine(monkeypatch):
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 12_500_000_000)
    on_gpu, on_cpu = peak_memory(torch.device("cuda", 0)), peak_memory(torch.device("cpu"))
    assert on_gpu["gpu_peak_memory_mb"] == 12_500 and set(on_cpu) == {"peak_memory_mb"} < set(on_gpu)
    assert on_cpu["peak_memory_mb"] > 10
