"""Precision settings reach PyTorch, and the record says what is set."""

import platform

import pytest
import torch

from mssts.core.environment import environment, set_tf32


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
