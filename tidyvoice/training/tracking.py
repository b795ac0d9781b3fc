"""The logs of a training: progress bar, text, JSON lines, TensorBoard."""

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

Item = TypeVar("Item")
WAITS_TOO_LONG = 0.1  # share of an interval


class Tracker:
    """Writes the means over intervals of steps to the bar and to ``log/`` of an experiment.

    ``log/train.log`` is text; ``log/train.jsonl`` holds one object an interval (where a resumed
    training repeated an iteration, the last object counts); TensorBoard's event file lies beside.
    All processes but the first are ``quiet``.
    """

    def __init__(
        self, folder: Path, total: int, start: int, interval: int, utterances: int, quiet: bool
    ):
        self._logs = folder / "log"
        self._total = total
        self._interval = interval
        self._utterances = utterances
        self._quiet = quiet
        self._board = None if quiet else SummaryWriter(str(self._logs), purge_step=start)
        self._bar = tqdm(total=total, initial=start, unit=" steps", disable=quiet or None)
        self._advised = False
        self._reset()

    def close(self) -> None:
        self._bar.close()
        if self._board:
            self._board.close()

    def say(self, *messages: str) -> None:
        """Write lines to the terminal and the text log."""
        for message in () if self._quiet else messages:
            tqdm.write(message)
            sys.stdout.flush()
            self._append("train.log", f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}")

    def _append(self, name: str, line: str) -> None:
        with open(self._logs / name, "a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def waiting(self, batches: Iterable[Item]) -> Iterator[Item]:
        """Yield the batches, and count the time spent waiting for them."""
        self._reset()
        start = time.perf_counter()
        for batch in batches:
            self._waited += time.perf_counter() - start
            yield batch
            start = time.perf_counter()

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Exclude the time of this context from the time of the steps."""
        start = time.perf_counter()
        yield
        self._start += time.perf_counter() - start

    def validation(self, iteration: int, eer: float) -> None:
        """Log a validation EER (a fraction)."""
        if self._board:
            self._board.add_scalar("validation_eer", 100 * eer, iteration)

    def step(
        self,
        iteration: int,
        epoch: int,
        values: Mapping[str, Tensor],
        margin: float,
        learning_rate: float,
    ) -> None:
        """Log the step ``iteration``, from 1: ``loss``, ``accuracy`` (a share) and other values."""
        self._values.append(values)
        self._bar.update()
        if iteration % self._interval and iteration != self._total:
            return
        elapsed, steps = time.perf_counter() - self._start, len(self._values)
        means = {name: sum(float(each[name]) for each in self._values) / steps for name in values}
        row = {
            "iteration": iteration,
            "epoch": epoch,
            "loss": round(means.pop("loss"), 5),
            "accuracy": round(100 * means.pop("accuracy"), 2),
            "margin": round(margin, 5),
            "lr": float(f"{learning_rate:.5g}"),
            "utt_per_s": round(steps * self._utterances / elapsed, 1),
            "data_wait": round(self._waited / elapsed, 4),
        }
        row |= {name: round(value, 5) for name, value in means.items()}
        if not self._quiet:
            left = tqdm.format_interval(elapsed / steps * (self._total - iteration))
            self._write(row, list(means), left)
        self._reset()

    def _write(self, row: dict, others: list[str], left: str) -> None:
        self._append("train.jsonl", json.dumps(row))
        for name in row.keys() - {"iteration", "epoch"}:
            self._board.add_scalar(name, row[name], row["iteration"])
        more = "".join(f" {name} {row[name]:.3f}" for name in others)
        self.say(
            f"step {row['iteration']}/{self._total} epoch {row['epoch']} loss {row['loss']:.3f} "
            f"acc {row['accuracy']:.1f}%{more} margin {row['margin']:.3f} lr {row['lr']:.2e} "
            f"{row['utt_per_s']:.0f} utt/s wait {row['data_wait']:.0%} left {left}"
        )
        if row["data_wait"] > WAITS_TOO_LONG and not self._advised:
            self._advised = True
            self.say(
                f"the training waits for data {row['data_wait']:.0%} of the time: raise "
                "data.num_workers, use a local disk, or set data.sampler.name: Windowed"
            )

    def _reset(self) -> None:
        self._values: list[Mapping[str, Tensor]] = []
        self._waited = 0.0
        self._start = time.perf_counter()
