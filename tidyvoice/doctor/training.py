"""Checks of a training's settings: what it starts from, how long it is, what it writes."""

import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import polars as pl
import torch

from tidyvoice.config import Experiment
from tidyvoice.device import choose_device
from tidyvoice.doctor.machine import Finding, Need, size
from tidyvoice.errors import TidyVoiceError
from tidyvoice.headers import SAMPLE_RATE
from tidyvoice.losses import build_loss
from tidyvoice.training.start import check_initial_model

Tables = Mapping[Path, pl.DataFrame]
TAR_BYTES = 2048  # headers and padding of one utterance in a shard
TIMED_CHUNKS, TIMED_FRAMES = 4, 64
LONGEST_TIMED = 2.0  # seconds; of a longer step only a part is timed
LONGEST_ON_CPU = 24 * 3600.0  # seconds; a longer training needs a GPU or consent


def check(config: str, settings: Experiment, tables: Tables) -> Iterator[Finding]:
    """Check the initial model, the schedule, and the device that the training would run on."""
    try:
        model = settings.build_model()
    except TidyVoiceError as error:
        yield Finding("FAIL", f"{config} model", str(error))
        return
    if settings.model.init:
        yield _initial_model(f"{config} model.init", settings)
    chunks = settings.data.batch_size * settings.accumulate
    steps = settings.epochs * settings.epoch_iterations if settings.epoch_iterations else 0
    data = _training_data(settings, tables)
    if data is not None:
        # Utterances of unknown duration count as long enough.
        used = data.height - (data["seconds"] < settings.data.min_seconds).sum()
        if used < chunks:
            message = f"{used:,} utterances are long enough, fewer than the {chunks:,} of a step"
            fix = "Make data.batch_size, accumulate or data.min_seconds smaller"
            yield Finding("FAIL", config, message, fix)
            return
        steps = steps or settings.epochs * (used // chunks)
        message = (
            f"{steps:,} steps of {chunks:,} chunks, {steps * chunks / used:.3g} passes over "
            f"{used:,} utterances; up to about {size(_checkpoint_bytes(settings, data))} for each "
            "checkpoint"
        )
        yield Finding("OK", config, message)
    try:
        device = choose_device(settings.device)
    except TidyVoiceError as error:
        yield Finding("FAIL", f"{config} device", str(error))
        return
    if device.type == "cpu" and steps:
        yield _time_on_cpu(config, settings, model, steps * chunks)


def needs(settings: Experiment, tables: Tables) -> Iterator[Need]:
    """Yield the shards and checkpoints that are still to be written."""
    for folder in (*settings.data.train, settings.data.noise, settings.data.rirs):
        if folder in tables and not any(folder.glob("**/shards/shards.json")):
            table = tables[folder]
            audio = table["seconds"].sum() * SAMPLE_RATE * 2
            yield Need(folder, f"shards of {folder}", audio + table.height * TAR_BYTES)
    data = _training_data(settings, tables)
    if data is not None:
        exp = settings.experiment
        # Those of the last epochs; untrained, between epochs, being written; the average and its
        # head.pt, which together take less than a checkpoint.
        files = min(settings.keep_checkpoints, settings.epochs) + 4
        written = sum(path.stat().st_size for path in (exp / "models").glob("*.pt"))
        missing = max(files * _checkpoint_bytes(settings, data) - written, 0)
        yield Need(exp, f"checkpoints of {exp}", missing)


def _initial_model(where: str, settings: Experiment) -> Finding:
    try:
        source = check_initial_model(settings)
    except TidyVoiceError as error:
        if settings.model.init.exists():
            return Finding("FAIL", where, str(error))
        return Finding("WARN", where, str(error), "An earlier training may write it")
    return Finding("OK", where, f"{source} fits")


def _training_data(settings: Experiment, tables: Tables) -> pl.DataFrame | None:
    """Return all utterances that are trained on; None if a folder could not be read."""
    if any(folder not in tables for folder in settings.data.train):
        return None
    return pl.concat([tables[folder] for folder in settings.data.train])


def _checkpoint_bytes(settings: Experiment, data: pl.DataFrame) -> int:
    """Return the most that a checkpoint takes, apart from names and settings.

    It holds the weights, two numbers of the optimizer for each, and an average of the model.
    """
    loss, classes = settings.loss, data["speaker"].n_unique() * len(settings.data.speeds)
    with torch.device("meta"):
        model = settings.build_model()
        head = build_loss(loss.name, settings.model.embed_dim, max(classes, 2), **loss.args)
    of_model, of_head = (sum(p.numel() for p in part.parameters()) for part in (model, head))
    return 4 * (4 * of_model + 3 * of_head)


def _time_on_cpu(config: str, settings: Experiment, model: torch.nn.Module, chunks: int) -> Finding:
    """Time a step and scale it to all chunks of the training.

    A long training must not start on the CPU unless the settings say ``device: cpu``. The step is
    in float32, because most CPUs emulate bfloat16, which takes minutes.
    """
    batch, frames = settings.data.batch_size, settings.data.chunk_frames
    threads, short = torch.get_num_threads(), min(frames, TIMED_FRAMES)
    time_frame = partial(_seconds_a_frame, model, settings.frontend.outline().feature_dim)
    if time_frame(2, short, 1) * batch * frames <= LONGEST_TIMED:
        # Short steps of a narrow network take longer than their share, and two threads may take
        # longer than one: run.sh --recipe mini trains it with two processes of one thread each.
        seconds = min(time_frame(batch, frames, number) for number in (1, threads))
    else:
        seconds = time_frame(min(batch, TIMED_CHUNKS), short, threads)
    total = seconds * chunks * frames
    message = f"training on this CPU takes about {_duration(total)}, estimated from one step"
    if total <= LONGEST_ON_CPU:
        return Finding("OK", config, message)
    if settings.device == "cpu":
        return Finding("WARN", config, f"{message}; device: cpu allows it")
    fix = "Run it on a machine with a GPU, or allow the CPU with device: cpu (--set device=cpu)"
    return Finding("FAIL", config, f"torch finds no GPU, and {message}", fix)


def _seconds_a_frame(
    model: torch.nn.Module, features: int, batch: int, frames: int, threads: int
) -> float:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    model.train().to(memory_format=torch.channels_last)  # as in training
    for _ in range(2):  # the first step also sets up the convolutions
        start = time.perf_counter()
        model(torch.randn(batch, frames, features)).sum().backward()
        seconds = time.perf_counter() - start
    torch.set_num_threads(before)
    return seconds / (batch * frames)


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.0f} seconds"
