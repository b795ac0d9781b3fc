"""The Triton kernels without a GPU: their numbers, that they compile, and what replaces them."""

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from unittest import mock

import pytest
import torch
from conftest import require_triton

from benchmarks.pretend_cuda import DEVICE, PretendCuda
from tidyvoice import kernels
from tidyvoice.errors import TidyVoiceWarning
from tidyvoice.models.simam_resnet import simam_residual

ROOT = Path(__file__).parents[2]
MAPS = ("x", "residual", "out", "gradient", "of_x", "of_residual")
SIMAM = ("simam_statistics", "simam_output", "simam_gradient_sums", "simam_gradients")
# Layouts, as the sizes of tiles and the stride that is one.
LAST = {"ROWS": 64, "COLUMNS": 32, "c_stride": 1}
FIRST = {"ROWS": 2048, "COLUMNS": 1, "p_stride": 1}


@pytest.fixture(autouse=True)
def _triton():
    require_triton()
    kernels.passes.cache_clear()
    yield
    kernels.passes.cache_clear()


def test_numbers():
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "tests/models/interpreted_kernels.py"]
    subprocess.run(command, check=True, cwd=ROOT, env=environment)


@pytest.mark.parametrize(
    ("architecture", "dtype", "layout"),
    [
        (80, "bf16", LAST),
        (90, "bf16", LAST),
        (90, "fp32", FIRST),
    ],
)
def test_kernels_compile_without_spilled_registers(
    architecture, dtype, layout, tmp_path, monkeypatch
):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    for name in SIMAM:
        assert stack(name, architecture, tmp_path, dtype, **layout) == 0
    # Sine and cosine of large angles have a table of their own there.
    assert stack("normal_rows", architecture, tmp_path, dtype, BLOCK=1024) <= 32


def stack(name: str, architecture: int, folder: Path, dtype: str, **fixed: int) -> int:
    """Compile a kernel; return the bytes of a thread's stack, where registers are spilled."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from tidyvoice.kernels import operators

    kernel = getattr(operators, name)
    signature, attributes = {}, {}
    for place, argument in enumerate(kernel.arg_names):
        if argument in fixed:
            signature[argument] = "constexpr"
            continue
        if argument in ("tiles", "P", "C", "S", "p_stride", "c_stride"):
            signature[argument] = "i32"
        else:
            other = "*i64" if argument == "seeds" else "*fp32"
            signature[argument] = f"*{dtype}" if argument in MAPS else other
        if argument != "tiles":
            attributes[place,] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature, fixed, attributes)
    compiled = triton.compile(source, target=GPUTarget("cuda", architecture, 32))
    cubin = folder / "kernel.cubin"
    cubin.write_bytes(compiled.asm["cubin"])
    command = [triton.knobs.nvidia.cuobjdump.path, "--dump-resource-usage", cubin]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(re.search(r"STACK:(\d+)", printed)[1])


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda patch: patch.setitem(sys.modules, "triton", None), "triton"),
        (lambda patch: failing(patch, RuntimeError("no C compiler\nCC")), "no C compiler"),
        (lambda patch: failing(patch, AssertionError), "AssertionError"),
    ],
)
def test_a_kernel_that_fails_is_replaced_with_one_warning(break_it, reason, monkeypatch):
    monkeypatch.delitem(sys.modules, "tidyvoice.kernels.operators", raising=False)
    monkeypatch.delattr(kernels, "operators", raising=False)
    break_it(monkeypatch)
    with PretendCuda(kernels=None):
        torch.manual_seed(1)
        x, residual = torch.rand(2, 2, 3, 4, 5).unbind()
        expected = simam_residual(x, residual)
        with pytest.warns(
            TidyVoiceWarning, match=f"simam_residual does not work .*{reason}"
        ) as all:
            ours = simam_residual(x.to(DEVICE), residual.to(DEVICE))
        assert len(all) == 1
        torch.testing.assert_close(ours.cpu(), expected)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            simam_residual(x.to(DEVICE), residual.to(DEVICE))


def failing(patch: pytest.MonkeyPatch, error: Exception | type[Exception]) -> None:
    # No Triton: the operators are registered once in a process.
    patch.setitem(sys.modules, "tidyvoice.kernels.operators", mock.Mock())
    patch.setitem(kernels.CHECKS, "simam_residual", mock.Mock(side_effect=error))


def test_a_check_without_memory_is_an_error(monkeypatch):
    failing(monkeypatch, torch.OutOfMemoryError("no memory"))
    with PretendCuda(kernels=None), pytest.raises(torch.OutOfMemoryError):
        kernels.usable("simam_residual", DEVICE, torch.float32)


def test_a_cpu_needs_no_kernels(monkeypatch):
    monkeypatch.delitem(sys.modules, "tidyvoice.kernels.operators", raising=False)
    assert not kernels.usable("simam_residual", torch.device("cpu"), torch.float32)
    assert not kernels.usable("seeded_noise", torch.device("mps"), torch.float32)
    assert "tidyvoice.kernels.operators" not in sys.modules
