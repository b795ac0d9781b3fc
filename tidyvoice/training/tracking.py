"""What a training shows: a progress bar, a plain log, a table of numbers, TensorBoard."""

import json
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO, TypeVar

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

Item = TypeVar("Item")


class Tracker:
    """Means over intervals of steps, written to the bar and to ``log/`` of an experiment.

    ``log/train.log`` is for readers; ``log/train.jsonl`` holds one object an interval (the last
    one for an iteration counts, where an interrupted run repeated some); TensorBoard's event file
    lies beside them.

    Args:
        folder: the experiment.
        total: steps of the whole training.
        start: steps already done.
        interval: steps of an interval.
    """

    def __init__(self, folder: Path, total: int, start: int, interval: int):
        logs = folder / "log"
        logs.mkdir(parents=True, exist_ok=True)
        self._interval = interval
        self._files = ExitStack()
        self._text = self._files.enter_context(_appended(logs / "train.log"))
        self._numbers = self._files.enter_context(_appended(logs / "train.jsonl"))
        self._board = SummaryWriter(str(logs), purge_step=start)
        self._bar = tqdm(total=total, initial=start, unit=" steps", disable=None)
        self._reset()

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()
        self._board.close()
        self._files.close()

    def say(self, message: str) -> None:
        """A line for the terminal and the plain log."""
        tqdm.write(message)
        sys.stdout.flush()
        self._text.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}\n")

    def waiting(self, batches: Iterable[Item]) -> Iterator[Item]:
        """Pass ``batches`` on and count the time spent waiting for them."""
        self._reset()
        iterator = iter(batches)
        while True:
            start = time.perf_counter()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            self._waited += time.perf_counter() - start
            yield batch

    def step(
        self,
        iteration: int,
        epoch: int,
        loss: Tensor,
        accuracy: Tensor,
        margin: float,
        learning_rate: float,
        utterances: int,
    ) -> None:
        """Count a step; ``iteration`` is the number of steps done with it."""
        self._losses.append(loss)
        self._accuracies.append(accuracy)
        self._utterances += utterances
        self._bar.update()
        if iteration % self._interval and iteration != self._bar.total:
            return
        elapsed = time.perf_counter() - self._start
        steps = len(self._losses)
        row = {
            "iteration": iteration,
            "epoch": epoch,
            "loss": round(sum(map(float, self._losses)) / steps, 5),
            "accuracy": round(100 * sum(map(float, self._accuracies)) / steps, 2),
            "margin": round(margin, 5),
            "lr": float(f"{learning_rate:.5g}"),
            "utt_per_s": round(self._utterances / elapsed, 1),
            "data_wait": round(self._waited / elapsed, 4),
        }
        self._write(row)
        self._reset()

    def _write(self, row: dict) -> None:
        self._numbers.write(json.dumps(row) + "\n")
        for name in ("loss", "accuracy", "margin", "lr", "utt_per_s", "data_wait"):
            self._board.add_scalar(name, row[name], row["iteration"])
        shown = (
            f"loss {row['loss']:.3f} acc {row['accuracy']:.1f}% margin {row['margin']:.3f} "
            f"lr {row['lr']:.2e} {row['utt_per_s']:.0f} utt/s wait {row['data_wait']:.0%}"
        )
        self._bar.set_postfix_str(shown)
        line = f"step {row['iteration']}/{self._bar.total} epoch {row['epoch']} {shown}"
        if self._bar.disable:
            self.say(line)
        else:
            self._text.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")

    def _reset(self) -> None:
        self._losses: list[Tensor] = []
        self._accuracies: list[Tensor] = []
        self._utterances = 0
        self._waited = 0.0
        self._start = time.perf_counter()


def _appended(path: Path) -> TextIO:
    """Open to append, each line on disk as it is written."""
    return open(path, "a", buffering=1, encoding="utf-8")
