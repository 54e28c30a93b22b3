"""The Triton kernels of deformable attention, as far as they can be tested without a GPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch._subclasses import FakeTensorMode

from mssts.config import load_baseline
from mssts.models.deformable_attention import DeformableAttention
from mssts.models.position import TokenGeometry
from mssts.ops import attention
from mssts.ops.attention import (
    AUTO,
    GRID_SAMPLE,
    TRITON,
    _sample_with_grid_sample,
    _sample_with_triton,
    sampling_path,
    triton_agrees,
)

triton = pytest.importorskip("triton")
kernels = pytest.importorskip("mssts.ops.deformable_triton")

SHAPES = ((60, 96), (30, 48), (15, 24), (8, 12))  # of frames of 480 x 768


def test_only_cuda_samples_with_the_kernel_and_only_if_the_setting_allows_it():
    assert sampling_path(AUTO, torch.device("cuda"), 32) == TRITON
    assert sampling_path(GRID_SAMPLE, torch.device("cuda"), 32) == GRID_SAMPLE
    assert {sampling_path(AUTO, torch.device(name), 32) for name in ("meta", "mps")} == {GRID_SAMPLE}


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        (_sample_with_triton, ""),
        (lambda *inputs: 1.01 * _sample_with_grid_sample(*inputs), "not close"),
    ],
    ids=["no driver for this device", "wrong values"],
)
def test_a_device_on_which_the_kernel_fails_gets_grid_sampling_and_a_warning(sample, reason, monkeypatch, capsys):
    monkeypatch.setattr(attention, "_sample_with_triton", sample)
    attention._disagreement.cache_clear()
    try:
        assert not any(triton_agrees(torch.device("cpu")) for _ in range(2))
    finally:
        attention._disagreement.cache_clear()
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith("warning: deformable attention uses grid sampling on cpu") and reason in warning


@pytest.mark.long
def test_kernels_equal_grid_sampling_in_the_interpreter():
    """In a process of its own: Triton reads the variable when it is imported."""
    cases = Path(__file__).with_name("interpreted_deformable.py")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(cases)],
        env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True, cwd=cases.parents[2],
    )  # fmt: skip
    assert run.returncode == 0, run.stdout


def compiled(kernel, architecture, values, others):
    """Code of a kernel for the sizes of the paper's models."""
    constants = {"M": 8, "D": 32, "L": 4, "P": 4, "BLOCK_Q": kernels.BLOCK_Q, "BLOCK_D": 32}
    types = {"levels": "*i32", "values": f"*{values}", "S": "i32", "Q": "i32"} | dict.fromkeys(constants, "constexpr")
    signature = {name: types.get(name, f"*{others}") for name in kernel.arg_names}
    aligned = {(i,): [["tt.divisibility", 16]] for i, type in enumerate(signature.values()) if type[0] == "*"}
    source = triton.compiler.ASTSource(kernel, signature, constants, aligned)
    target = triton.backends.compiler.GPUTarget("cuda", architecture, 32)
    return triton.compile(source, target=target)


@pytest.mark.parametrize(
    ("values", "others"),
    [
        ("fp32", "fp32"),
        pytest.param("bf16", "fp32", marks=pytest.mark.long),
        pytest.param("fp64", "fp64", marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("architecture", [80, 90])
@pytest.mark.parametrize("kernel", ["_forward", "_backward"])
def test_kernels_compile_to_machine_code(kernel, architecture, values, others, monkeypatch, tmp_path):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    code = compiled(getattr(kernels, kernel), architecture, values, others)
    assert code.asm["cubin"].startswith(b"\x7fELF")
    assert f".target sm_{architecture}" in code.asm["ptx"]
    assert code.metadata.shared <= 48 * 2**10


def kept(setting, queries):
    """Bytes that an attention layer of the paper's model keeps for its backward pass, besides weights and inputs."""
    module = DeformableAttention(load_baseline().model.model_copy(update={"deformable_sampling": setting}))
    layout = TokenGeometry(4, 256)(SHAPES, torch.zeros(1, 480, 768, dtype=torch.bool))  # no cached, real tensors
    tokens, queries = (torch.randn(1, 5, size, 256) for size in (sum(h * w for h, w in SHAPES), queries))
    given = {x.untyped_storage() for x in (tokens, queries, *module.parameters())}
    found = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage not in given:
            found[storage] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = module(queries, torch.rand(1, 1, queries.shape[2], 4, 2), tokens, layout)
    assert output.shape == queries.shape and output.device.type == "cuda"
    return sum(found.values())


@pytest.mark.parametrize(("queries", "share"), [(sum(h * w for h, w in SHAPES), 0.15), (300, 0.7)])
def test_the_kernel_keeps_its_inputs_only(queries, share):
    with FakeTensorMode(), torch.device("cuda"):
        ours, theirs = kept(AUTO, queries), kept(GRID_SAMPLE, queries)
    print(f"{queries} queries: {theirs / 1e9:.3f} -> {ours / 1e9:.3f} GB")
    assert ours < share * theirs


def test_the_kernels_operators_work_without_data():
    values, locations, weights = (
        torch.empty(size, device="meta", requires_grad=True)
        for size in ((2, 3, 22, 8), (2, 3, 2, 2, 4, 2, 7), (2, 3, 2, 2, 4, 7))
    )
    output = _sample_with_triton(values.bfloat16(), locations, weights, ((3, 4), (2, 5)))
    output.sum().backward()
    assert (output.shape, output.dtype) == ((2, 3, 7, 8), torch.float32)
    assert all(x.grad.shape == x.shape for x in (values, locations, weights))
