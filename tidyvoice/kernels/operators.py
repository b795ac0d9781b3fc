"""The Triton kernels as operators of PyTorch: ``torch.ops.tidyvoice``.

A map [B x C x H x W] is B utterances of P = H x W positions and C channels. It lies densely,
channels last or first, so that two strides describe it. A program of the grid (blocks of channels,
splits of the positions, B) works on tiles [ROWS positions x COLUMNS channels], one after another.
Partial results of the splits [B x splits x C] are merged by each program that needs them: without
atomics the result does not depend on the order in which programs finish.

The mathematics is in ``tidyvoice.models.simam_resnet``. Everything is computed in float32.

Memory traffic for maps in bfloat16: ``simam_residual`` has two kernels and moves 8 bytes an element
(x twice, residual, out), ``simam_residual_backward`` two and 16 bytes (gradient, x and out twice,
both gradients). The arguments that are read twice come first.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from tidyvoice.kernels import LAMBDA

TILE = 2048  # elements: 16 a thread, two loads of 16 bytes in bfloat16
COLUMNS = 32  # channels: 64 bytes in bfloat16
PROGRAMS = 4096  # enough to fill the largest GPU a few times, so that the last ones are few
SPLITS = 32  # at most: merging them stays cheap beside the positions of a program
_LAMBDA = tl.constexpr(LAMBDA)
_SPLITS = tl.constexpr(SPLITS)


@triton.jit
def _tile(number, tiles, P, C, p_stride, c_stride, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Return offsets and mask [ROWS x COLUMNS] of a tile of this program."""
    rows = (tl.program_id(1) * tiles + number) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    # In 64 bits: a batch can have more than 2^31 elements.
    start = tl.program_id(2).to(tl.int64) * P * C
    across = columns.to(tl.int64)[None, :] * c_stride
    offsets = start + rows.to(tl.int64)[:, None] * p_stride + across
    return offsets, (rows < P)[:, None] & (columns < C)[None, :]


@triton.jit
def _numbers(row, C, COLUMNS: tl.constexpr):
    """Return offsets of this program's channels in rows of C numbers, and their mask."""
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    return row.to(tl.int64) * C + columns, columns < C


@triton.jit
def _partials(C, COLUMNS: tl.constexpr):
    """Return offsets and mask [SPLITS x COLUMNS] of all splits in [B x splits x C]."""
    splits = tl.arange(0, _SPLITS)[:, None]
    row = tl.program_id(2) * tl.num_programs(1)
    places, valid = _numbers(row, C, COLUMNS)
    return places[None, :] + splits * C, (splits < tl.num_programs(1)) & valid[None, :]


@triton.jit
def _store_partials(first, first_value, second, second_value, C, COLUMNS: tl.constexpr):
    row = tl.program_id(2) * tl.num_programs(1) + tl.program_id(1)
    places, valid = _numbers(row, C, COLUMNS)
    tl.store(first + places, first_value, valid)
    tl.store(second + places, second_value, valid)


@triton.jit(do_not_specialize=["tiles"])
def simam_statistics(
    x, means, squares, tiles, P, C, p_stride, c_stride, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    """Write mean and sum of squared deviations of each split: [B x splits x C]."""
    # Welford's method for each place of the tile, then Chan's formula over its rows: a mean of
    # squares minus the square of the mean would cancel.
    mean = tl.zeros([ROWS, COLUMNS], tl.float32)
    square = tl.zeros([ROWS, COLUMNS], tl.float32)
    for number in range(tiles):
        offsets, inside = _tile(number, tiles, P, C, p_stride, c_stride, ROWS, COLUMNS)
        value = tl.load(x + offsets, inside, other=0.0).to(tl.float32)
        deviation = tl.where(inside, value - mean, 0.0)
        mean += deviation * (1.0 / (number + 1))
        square += deviation * (value - mean)
    span = tiles * ROWS
    rest = P - tl.program_id(1) * span
    counts = tl.minimum((rest - tl.arange(0, ROWS) + ROWS - 1) // ROWS, tiles)
    counts = tl.maximum(counts, 0).to(tl.float32)[:, None]
    centre = tl.sum(counts * mean, 0) / tl.minimum(rest, span)
    deviation = mean - centre[None, :]
    total = tl.sum(square + counts * deviation * deviation, 0)
    _store_partials(means, centre, squares, total, C, COLUMNS)


@triton.jit(do_not_specialize=["tiles"])
def simam_output(
    x, residual, means, squares, out, mean, root,
    tiles, P, C, p_stride, c_stride, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):  # fmt: skip
    """Write the output; and of each channel the mean and the root of c: [B x C]."""
    places, mask = _partials(C, COLUMNS)
    span = tiles * ROWS
    counts = tl.minimum(P - tl.arange(0, _SPLITS) * span, span)
    counts = tl.maximum(counts, 0).to(tl.float32)[:, None]
    partial = tl.load(means + places, mask, other=0.0)
    centre = tl.sum(counts * partial, 0) / P
    deviation = partial - centre[None, :]
    square = tl.load(squares + places, mask, other=0.0) + counts * deviation * deviation
    scale = 0.5 * tl.rsqrt(tl.sum(square, 0) / (P - 1) + _LAMBDA)
    if tl.program_id(1) == 0:
        numbers, valid = _numbers(tl.program_id(2), C, COLUMNS)
        tl.store(mean + numbers, centre, valid)
        tl.store(root + numbers, scale, valid)
    for number in range(tiles):
        offsets, inside = _tile(number, tiles, P, C, p_stride, c_stride, ROWS, COLUMNS)
        value = tl.load(x + offsets, inside, other=0.0).to(tl.float32)
        added = tl.load(residual + offsets, inside, other=0.0).to(tl.float32)
        scaled = (value - centre[None, :]) * scale[None, :]
        result = value * tl.sigmoid(scaled * scaled + 0.5) + added
        # A NaN fails the comparison and stays, as in PyTorch's ReLU.
        tl.store(out + offsets, tl.where(result <= 0.0, 0.0, result), inside)


@triton.jit
def _saved(mean, root, C, COLUMNS: tl.constexpr):
    places, valid = _numbers(tl.program_id(2), C, COLUMNS)
    mean = tl.load(mean + places, valid, other=0.0)
    root = tl.load(root + places, valid, other=0.0)
    return mean[None, :], root[None, :]


@triton.jit
def _terms(gradient, x, out, offsets, inside, mean, root):
    """Return g, g a, s and q of a tile, in the symbols of ``simam_resnet``."""
    gradient = tl.load(gradient + offsets, inside, other=0.0).to(tl.float32)
    value = tl.load(x + offsets, inside, other=0.0).to(tl.float32)
    gradient = tl.where(tl.load(out + offsets, inside, other=0.0) <= 0.0, 0.0, gradient)
    scaled = (value - mean) * root
    attention = tl.sigmoid(scaled * scaled + 0.5)
    result = gradient * attention
    return gradient, result, result * (1.0 - attention) * value, scaled


@triton.jit(do_not_specialize=["tiles"])
def simam_gradient_sums(
    gradient, x, out, mean, root, sums, products,
    tiles, P, C, p_stride, c_stride, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):  # fmt: skip
    """Write the sums of s q and of s q^2 over each split: [B x splits x C]."""
    mean, root = _saved(mean, root, C, COLUMNS)
    first = tl.zeros([ROWS, COLUMNS], tl.float32)
    second = tl.zeros([ROWS, COLUMNS], tl.float32)
    for number in range(tiles):
        offsets, inside = _tile(number, tiles, P, C, p_stride, c_stride, ROWS, COLUMNS)
        _, _, weight, scaled = _terms(gradient, x, out, offsets, inside, mean, root)
        first += weight * scaled
        second += weight * scaled * scaled
    _store_partials(sums, tl.sum(first, 0), products, tl.sum(second, 0), C, COLUMNS)


@triton.jit(do_not_specialize=["tiles"])
def simam_gradients(
    gradient, x, out, mean, root, sums, products, of_x, of_residual,
    tiles, P, C, p_stride, c_stride, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):  # fmt: skip
    places, mask = _partials(C, COLUMNS)
    centre = tl.sum(tl.load(sums + places, mask, other=0.0), 0) / P
    pull = tl.sum(tl.load(products + places, mask, other=0.0), 0) / (P - 1)
    mean, root = _saved(mean, root, C, COLUMNS)
    for number in range(tiles):
        offsets, inside = _tile(number, tiles, P, C, p_stride, c_stride, ROWS, COLUMNS)
        passed, result, weight, scaled = _terms(gradient, x, out, offsets, inside, mean, root)
        # 2 root (s q - mean(s q)) - 8 root pull q
        bend = weight * scaled - centre[None, :] - 4.0 * pull[None, :] * scaled
        tl.store(of_x + offsets, result + 2.0 * root * bend, inside)
        tl.store(of_residual + offsets, passed, inside)


@triton.jit
def normal_rows(out, seeds, S, BLOCK: tl.constexpr):
    """Write standard normal noise [B x S]; Philox counts the samples of a row from its seed."""
    row = tl.program_id(0).to(tl.int64)
    samples = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + row * S + samples, tl.randn(tl.load(seeds + row), samples), samples < S)


def _layout(x: Tensor) -> torch.memory_format:
    last = torch.channels_last
    return last if x.is_contiguous(memory_format=last) else torch.contiguous_format


def _dense(x: Tensor, *others: Tensor) -> list[Tensor]:
    """Return the maps in the layout of the first one."""
    return [each.contiguous(memory_format=_layout(x)) for each in (x, *others)]


def _plan(x: Tensor) -> tuple[tuple[int, int, int], tuple[int, ...], Tensor, Tensor]:
    """Return the grid, the kernels' last arguments and memory for two numbers of each split."""
    batch, channels, height, width = x.shape
    positions = height * width
    if _layout(x) == torch.channels_last:
        strides = channels, 1
        columns = min(triton.next_power_of_2(channels), COLUMNS)
        rows = TILE // columns
    else:
        strides = 1, positions
        rows = min(triton.next_power_of_2(positions), TILE)
        columns = TILE // rows
    blocks, tiles = triton.cdiv(channels, columns), triton.cdiv(positions, rows)
    splits = min(triton.cdiv(PROGRAMS, blocks * max(batch, 1)), SPLITS, tiles)
    each = triton.cdiv(tiles, splits)
    splits = triton.cdiv(tiles, each)  # none is empty
    partials = x.new_empty(2, batch, splits, channels, dtype=torch.float32).unbind()
    arguments = each, positions, channels, *strides, rows, columns
    return (blocks, splits, batch), arguments, *partials


@torch.library.custom_op("tidyvoice::simam_residual", mutates_args=())
def simam_residual(x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return ReLU(SimAM(x) + residual), like x, and of each channel mean and root of c [B x C]."""
    x, residual = _dense(x, residual)
    outputs = out, mean, root = _simam_residual_outputs(x, residual)
    grid, arguments, means, squares = _plan(x)
    with torch.cuda.device_of(x):
        simam_statistics[grid](x, means, squares, *arguments)
        simam_output[grid](x, residual, means, squares, out, mean, root, *arguments)
    return outputs


@simam_residual.register_fake
def _simam_residual_outputs(x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    numbers = [x.new_empty(x.shape[:2], dtype=torch.float32) for _ in range(2)]
    return torch.empty_like(x, memory_format=_layout(x)), *numbers


@torch.library.custom_op("tidyvoice::simam_residual_backward", mutates_args=())
def simam_residual_backward(
    gradient: Tensor, x: Tensor, out: Tensor, mean: Tensor, root: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradients of x and residual, both like x."""
    x, gradient, out = _dense(x, gradient, out)
    outputs = _simam_gradients(gradient, x, out, mean, root)
    grid, arguments, *sums = _plan(x)
    inputs = gradient, x, out, mean, root, *sums
    with torch.cuda.device_of(x):
        simam_gradient_sums[grid](*inputs, *arguments)
        simam_gradients[grid](*inputs, *outputs, *arguments)
    return outputs


@simam_residual_backward.register_fake
def _simam_gradients(
    gradient: Tensor, x: Tensor, out: Tensor, mean: Tensor, root: Tensor
) -> tuple[Tensor, Tensor]:
    return tuple(torch.empty_like(x, memory_format=_layout(x)) for _ in range(2))


def _save(ctx, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)  # mean and root have none
    ctx.save_for_backward(inputs[0], *output)


def _backward(ctx, gradient: Tensor, *of_numbers: None) -> tuple[Tensor, Tensor]:
    return torch.ops.tidyvoice.simam_residual_backward(gradient, *ctx.saved_tensors)


simam_residual.register_autograd(_backward, setup_context=_save)


@torch.library.custom_op("tidyvoice::seeded_noise", mutates_args=())
def seeded_noise(like: Tensor, seeds: Tensor) -> Tensor:
    """Return standard normal noise in the shape [B x S] of ``like``; row b depends on seeds[b]."""
    noise = _seeded_noise_output(like, seeds)
    rows, samples = like.shape
    with torch.cuda.device_of(like):
        normal_rows[rows, triton.cdiv(samples, 1024)](noise, seeds.contiguous(), samples, 1024)
    return noise


@seeded_noise.register_fake
def _seeded_noise_output(like: Tensor, seeds: Tensor) -> Tensor:
    return torch.empty_like(like, memory_format=torch.contiguous_format)
