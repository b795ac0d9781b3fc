"""Numbers of the Triton kernels in Triton's interpreter, which needs TRITON_INTERPRET=1."""

from collections.abc import Iterator
from unittest import mock

import torch
from torch import Tensor

from tests.models.reference import reference
from tidyvoice import kernels
from tidyvoice.kernels import operators

LAST, FIRST = torch.channels_last, torch.contiguous_format
CPU = torch.device("cpu")


def simam(x: Tensor, residual: Tensor, weight: Tensor) -> list[Tensor]:
    """Output and gradients by the kernels."""
    inputs = [each.detach().requires_grad_() for each in (x, residual)]
    out = torch.ops.tidyvoice.simam_residual(*inputs)[0]
    return [out, *torch.autograd.grad(out, inputs, weight)]


def maps(shape: tuple[int, ...], dtype: torch.dtype, layout: torch.memory_format) -> list[Tensor]:
    torch.manual_seed(sum(shape))
    x, residual, weight = (3 * torch.randn(3, *shape) + 1).to(dtype)
    x[0, 1] = 1.25  # a channel without variance
    return [each.contiguous(memory_format=layout) for each in (x, residual, weight)]


def cases() -> Iterator[list[Tensor]]:
    for dtype in (torch.float32, torch.bfloat16):
        yield maps((1, 33, 9, 61), dtype, LAST)  # blocks of 32 and 1 channels, tiles of 64 and 37
        yield maps((1, 2, 50, 90), dtype, FIRST)  # tiles of 2048 and 404 positions
    yield maps((2, 5, 2, 1), torch.float16, LAST)
    x, residual, weight = maps((2, 6, 5, 7), torch.float32, LAST)
    yield [x, residual.contiguous(), weight.contiguous()]
    yield [each[:, ::2] for each in (x, residual, weight)]


def check_output_and_gradients() -> None:
    for inputs in cases():
        # Few programs work on several tiles each, many on one.
        for programs in (4, 4096) if inputs[0].dtype == torch.float32 else (4,):
            with mock.patch.object(operators, "PROGRAMS", programs):
                ours = simam(*inputs)
            # The interpreter truncates when it rounds to bfloat16.
            rounding = max(torch.finfo(inputs[0].dtype).eps, 1e-5)
            for one, other in zip(ours, reference(*inputs), strict=True):
                assert one.dtype == inputs[0].dtype
                torch.testing.assert_close(one.double(), other, rtol=rounding, atol=rounding)


def check_types() -> None:
    """The output has the type of x; each gradient has that of its input."""
    x, residual, weight = maps((1, 3, 4, 5), torch.float32, LAST)
    for types in ((torch.bfloat16, torch.float32), (torch.float32, torch.bfloat16)):
        inputs = x.to(types[0]), residual.to(types[1]), weight.to(types[0])
        assert [each.dtype for each in simam(*inputs)] == [types[0], *types]


def check_far_from_zero() -> None:
    """A mean of squares minus the square of the mean would be wrong by a tenth here."""
    x, residual, _ = maps((1, 4, 30, 40), torch.float32, LAST)
    x += 3000
    for programs in (1, 4096):
        with mock.patch.object(operators, "PROGRAMS", programs):
            _, mean, root = torch.ops.tidyvoice.simam_residual(x, residual)
        values = x.double().flatten(2)
        torch.testing.assert_close(mean.double(), values.mean(2), rtol=1e-6, atol=0)
        expected = 0.5 / (values.var(2) + 1e-4).sqrt()
        torch.testing.assert_close(root.double(), expected, rtol=1e-4, atol=0)


def check_nan() -> None:
    x, residual, weight = maps((2, 3, 4, 5), torch.float32, LAST)
    x[0, 2, 1, 1] = residual[1, 0, 0, 0] = torch.nan
    for one, other in zip(simam(x, residual, weight), reference(x, residual, weight), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-5, equal_nan=True)


def check_registration() -> None:
    """The operators keep the rules of torch.compile."""
    x, residual, _ = maps((2, 3, 4, 5), torch.float32, LAST)
    inputs = [each.requires_grad_() for each in (x, residual)]
    torch.library.opcheck(operators.simam_residual, inputs)
    torch.library.opcheck(operators.seeded_noise, (torch.zeros(2, 9), torch.arange(2)))


def check_noise() -> None:
    count, seeds = 20_000, torch.tensor([7, 8, 7 + 2**40, 2**62 - 1])
    noise = torch.ops.tidyvoice.seeded_noise(torch.zeros(4, count), seeds)
    alone = torch.ops.tidyvoice.seeded_noise(torch.zeros(1, 1500), seeds[2:3])
    assert torch.equal(alone[0], noise[2, :1500])
    rows = noise.double()
    # Five standard deviations of each estimate.
    assert rows.mean(1).abs().max() < 5 * count**-0.5
    assert (rows.square().mean(1) - 1).abs().max() < 5 * (2 / count) ** 0.5
    assert (rows.pow(4).mean(1) - 3).abs().max() < 5 * (96 / count) ** 0.5
    products = rows @ rows.T / count - torch.eye(4)
    assert products.fill_diagonal_(0).abs().max() < 5 * count**-0.5
    shifted = (rows[:, 1:] * rows[:, :-1]).mean(1)
    assert shifted.abs().max() < 5 * count**-0.5


def check_the_check() -> None:
    """The check of a device passes, and notices other results."""
    for dtype in (torch.float32, torch.bfloat16):
        kernels.CHECKS["simam_residual"](CPU, dtype)
    kernels.CHECKS["seeded_noise"](CPU, torch.float32)
    for name, wrong in (("simam_residual", torch.bfloat16), ("seeded_noise", torch.float32)):
        with (
            mock.patch.object(kernels, "LAMBDA", 0.5),
            mock.patch.object(torch.ops.tidyvoice, "seeded_noise", lambda like, _: like.zero_()),
        ):
            try:
                kernels.CHECKS[name](CPU, wrong)
            except AssertionError:
                continue
        raise AssertionError(f"the check of {name} passes wrong results")


if __name__ == "__main__":
    for name, check in list(globals().items()):
        if name.startswith("check_"):
            check()
