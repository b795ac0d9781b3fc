"""Triton kernels for CUDA, and the check that decides whether this machine can run them.

Importing this package does not import Triton, which wheels of PyTorch for CPUs, Windows and macOS
lack. ``operators`` does; ``usable`` imports it at the first use on a CUDA device.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from tidyvoice.errors import LONGEST_REASON, TidyVoiceWarning

LAMBDA = 1e-4  # of SimAM, see tidyvoice.models.simam_resnet
disabled: set[str] = set()  # operators that are not to be used


@contextmanager
def without(name: str) -> Iterator[None]:
    """Let PyTorch's own operations replace an operator."""
    disabled.add(name)
    try:
        yield
    finally:
        disabled.discard(name)


@torch.compiler.assume_constant_result
def usable(name: str, device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether the operator ``tidyvoice::{name}`` works for tensors of this kind.

    The first call for a CUDA device compiles the operator and compares it with PyTorch. If that
    fails, it warns, and the caller uses PyTorch's own operations. Later calls return the same.
    """
    return device.type == "cuda" and name not in disabled and passes(name, device, dtype)


@cache
def passes(name: str, device: torch.device, dtype: torch.dtype) -> bool:
    """Check an operator on a CUDA device, or warn and return False; see ``usable``."""
    try:
        from tidyvoice.kernels import operators  # noqa: F401  (registers the operators)

        if torch.cuda.is_available():  # otherwise the tensors are fake, and nothing runs
            with _disable_current_modes(), torch.inference_mode(False), torch.enable_grad():
                CHECKS[name](device, dtype)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # compilers and drivers raise exceptions of many types
        lines = str(error).strip().splitlines() or [type(error).__name__]
        hint = "Triton needs a C compiler and Python's header files"
        if isinstance(error, AssertionError):
            hint = "Its results are wrong: report the GPU and the versions of torch and triton"
        warnings.warn(
            f"the Triton kernel {name} does not work on {device} ({lines[0][:LONGEST_REASON]}). "
            "Slower PyTorch operations replace it, and the run continues. " + hint,
            TidyVoiceWarning,
            stacklevel=4,
        )
        return False
    return True


def _check_simam(device: torch.device, dtype: torch.dtype) -> None:
    # Channels last, and multiples of 16 as in training, which then needs no further compilation.
    # 2,400 positions: programs have two tiles each, and the last tile is not full.
    maps = torch.arange(3 * 2 * 48 * 50 * 32, device=device).sin().to(dtype)
    *inputs, weight = maps.view(3, 2, 48, 50, 32).permute(0, 1, 4, 2, 3)
    inputs = [each.detach().requires_grad_() for each in inputs]
    ours = torch.ops.tidyvoice.simam_residual(*inputs)[0]
    wanted = _plain_simam(*(each.double() for each in inputs))
    rounding = max(2 * torch.finfo(dtype).eps, 1e-5)
    for one, other in zip(
        (ours, *torch.autograd.grad(ours, inputs, weight)),
        (wanted, *torch.autograd.grad(wanted, inputs, weight.double())),
        strict=True,
    ):
        torch.testing.assert_close(one.double(), other.double(), rtol=rounding, atol=rounding)


def _plain_simam(x: Tensor, residual: Tensor) -> Tensor:
    square = (x - x.mean((2, 3), keepdim=True)).square()
    variance = square.sum((2, 3), keepdim=True) / (x[0, 0].numel() - 1)
    return (x * (square / (4 * (variance + LAMBDA)) + 0.5).sigmoid() + residual).relu()


def _check_noise(device: torch.device, dtype: torch.dtype) -> None:
    like = torch.empty(3, 4096, dtype=dtype, device=device)
    noise = torch.ops.tidyvoice.seeded_noise(like, torch.tensor([1, 2**61, 1], device=device))
    torch.testing.assert_close(noise[0], noise[2], rtol=0, atol=0)
    for row in noise[:2].double():
        torch.testing.assert_close(row.mean().item(), 0.0, rtol=0, atol=0.1)
        torch.testing.assert_close(row.std().item(), 1.0, rtol=0, atol=0.1)


CHECKS = {"simam_residual": _check_simam, "seeded_noise": _check_noise}
