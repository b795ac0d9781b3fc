"""The way to compute the steps of a training: the fastest of those measured on this machine.

A training on CUDA measures before its first step; `tidyvoice benchmark` does on any device.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import torch

from tidyvoice.config import Experiment, load_experiment
from tidyvoice.data.batches import TrainingData
from tidyvoice.distributed import World, choose_device
from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import source_hash, write_text
from tidyvoice.record import machine
from tidyvoice.settings import Strict, read_json
from tidyvoice.training.measurement import MEASURED, Combination, Row, combinations, measure

TUNING_FILE = "log/tuning.json"
LEAST_STEPS = 2000  # assumed, not measured: fewer do not gain back the time of the trials


class Tuning(Strict):
    """The file of an experiment; ``key`` names the GPU, the software and the settings measured."""

    key: dict[str, Any]
    rows: tuple[Row, ...]
    choice: Combination


def default_combination(settings: Experiment) -> Combination:
    """Return the combination of a training that measures nothing."""
    return Combination(compile=settings.model.compile)


def choose(settings: Experiment, rows: Sequence[Row]) -> Row | None:
    """Return the fastest row whose results agree, compiled if the settings say so; or None."""
    wanted = settings.model.compile
    fitting = [row for row in rows if row.agrees and row.combination.compile >= wanted]
    return min(fitting, key=lambda row: row.milliseconds, default=None)


def table(rows: Sequence[Row]) -> list[str]:
    """Return the lines of a table of the rows."""
    width = max(len(str(row.combination)) for row in rows)
    lines = [f"{'':{width}}  ms/step  chunks/s    memory  of product  waits for data"]
    for row in rows:
        memory = "-" if row.memory is None else f"{row.memory / 1e9:.1f} GB"
        share = "-" if row.product_share is None else f"{row.product_share:.0%}"
        text = f"{row.milliseconds:7,.1f} {row.chunks_per_second:9,.1f} {memory:>9} {share:>11}"
        text += f" {row.waiting:15.0%}" + ("" if row.agrees else "  other results, not used")
        lines.append(f"{row.combination!s:{width}}  {row.failure or text}")
    return lines


def tune(
    settings: Experiment, data: TrainingData, world: World, steps: int, say: Callable[[str], None]
) -> Combination:
    """Return how to compute the steps that are left; measure if they are many. Collective."""
    if world.device.type != "cuda" or not settings.tuning or not steps:
        return default_combination(settings)
    path, key = settings.experiment / TUNING_FILE, _key(settings, world)
    saved = read_json(Tuning, path, "delete it") if world.is_first and path.is_file() else None
    choice = world.gather(saved.choice if saved and saved.key == key else None)[0]
    if choice:
        say(f"steps are computed as measured before, see {path}: {choice}")
        return choice
    if steps < LEAST_STEPS:
        return default_combination(settings)
    candidates = combinations(settings, world.device, world.size)
    say(f"measuring {len(candidates)} ways to compute a step; tuning=off skips this")
    trials: Iterator[Row | None] = repeat(None)
    if world.is_first:
        trials = measure(settings, data, world.device, MEASURED, world.size)
    # The others get each row at once, so that none waits for longer than timeout_seconds.
    rows = [world.gather(next(trials))[0] for _ in candidates]
    for line in table(rows):
        say(line)
    chosen = choose(settings, rows)
    if chosen is None:
        say("warning: no way to compute a step ran with matching results: none is chosen")
        return default_combination(settings)
    say(f"the fastest with the same results: {chosen.combination}")
    if world.is_first:
        tuning = Tuning(key=key, rows=tuple(rows), choice=chosen.combination)
        write_text(path, tuning.model_dump_json(indent=2) + "\n")
    return chosen.combination


def _key(settings: Experiment, world: World) -> dict[str, Any]:
    data = {"batch_size", "chunk_frames", "speeds", "augmentations"}
    names = ("precision", "gradient_accumulation", "frontend", "model", "loss", "optimizer")
    include = {**dict.fromkeys(names, True), "data": data}
    return {
        "gpu": torch.cuda.get_device_name(world.device),
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version(),
        "source": source_hash(),
        "processes": world.size,
        "settings": settings.model_dump(mode="json", include=include),
    }


def benchmark(
    config: str | Path, overrides: Sequence[str], steps: int
) -> tuple[dict[str, Any], list[str]]:
    """Measure the training of a YAML file here; return the results, and as lines of text."""
    settings = load_experiment(config, overrides)
    device = choose_device(settings.device)
    chunk_samples = settings.frontend.outline().num_samples(settings.data.chunk_frames)
    data = TrainingData(settings.data, chunk_samples, settings.seed)
    rows = list(measure(settings, data, device, steps))
    if all(row.failure for row in rows):
        fix = "reduce data.batch_size if the memory is too small"
        raise TidyVoiceError(f"{config}: no training step runs here ({rows[0].failure}): {fix}")
    chosen = choose(settings, rows)
    here = machine()
    where = f"{here.cpu}, {torch.get_num_threads()} threads"
    if device.type != "cpu":
        where = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    versions = f"torch {torch.__version__}, CUDA {here.cuda}, cuDNN {here.cudnn}"
    batch = f"{settings.data.batch_size} chunks of {settings.data.chunk_frames} frames"
    if settings.gradient_accumulation > 1:
        batch = f"{settings.gradient_accumulation} batches of {batch}"
    lines = [
        f"{where}; {versions}",
        f"{config}: {settings.model.name}, {settings.precision}, steps of {batch}",
        *table(rows),
        f"the fastest with the same results: {chosen.combination if chosen else 'none'}",
    ]
    whole_pass = data.batches_per_pass // settings.gradient_accumulation
    total = settings.epochs * (settings.epoch_iterations or whole_pass)
    tunes = device.type == "cuda" and settings.tuning and total >= LEAST_STEPS
    used = chosen if tunes else None
    used = used or next(row for row in rows if row.combination == default_combination(settings))
    seconds = None
    if not used.failure:
        seconds = total * used.milliseconds / 1000 / (1 - used.waiting)
        length = f"{seconds / 3600:,.1f} h" if seconds > 7200 else f"{seconds / 60:.1f} min"
        lines.append(
            f"the whole training takes {total:,} steps with {used.combination}: {length}, "
            "waiting for data included"
        )
    content = {
        "machine": where, "versions": versions, "config": config, "precision": settings.precision,
        "batch_size": settings.data.batch_size, "rows": [row.model_dump() for row in rows],
        "choice": chosen and chosen.combination.model_dump(), "steps": total, "seconds": seconds,
    }  # fmt: skip
    return content, lines
