"""Lists of any number of trials: kept on disk, 8 bytes each, and worked through part by part.

Text is parsed once; the checks that need the whole list, and then the work, read the compact form.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType

import numpy as np

from tidyvoice.readahead import one_ahead
from tidyvoice.scoring.repetitions import look_for_repetitions
from tidyvoice.scoring.trials import (
    SCORE_FILE,
    TRIAL_LIST,
    Format,
    ScoreTable,
    TrialList,
    Trials,
    read_parts,
)

# A portion of the cosine scoring, which wants many trials to put in order.
PART = 2**21
_TARGET = np.int64(1) << 62


class Spool(TrialList):
    """A trial list or score file on disk, in a nameless file that is gone when this is closed.

    Example:
        >>> with Spool.of_trials("trials", "exp") as trials:  # doctest: +SKIP
        ...     for part in trials.parts():
        ...         work(part)
    """

    def __init__(self, path: str | Path, kind: Format, folder: str | Path):
        """Read a file.

        Args:
            folder: where there is room for 8 bytes a trial, 16 with its score; made if missing.

        Raises:
            TidyVoiceError: see ``read_trials`` and ``read_scores``.
        """
        self.source = str(path)
        self._total, self._labelled = 0, False
        Path(folder).mkdir(parents=True, exist_ok=True)
        scored = kind is SCORE_FILE
        self._type = np.dtype([("sides", "<i8")] + ([("score", "<f8")] if scored else []))
        with ExitStack() as stack:
            self._file = stack.enter_context(tempfile.TemporaryFile(dir=folder))
            with closing(read_parts(path, kind)) as read, closing(one_ahead(read)) as tables:
                for table in tables:
                    self._add(table)
            self._file.flush()
            look_for_repetitions(self)
            stack.pop_all()

    @classmethod
    def of_trials(cls, path: str | Path, folder: str | Path) -> "Spool":
        """That of a trial list."""
        return cls(path, TRIAL_LIST, folder)

    @classmethod
    def of_scores(cls, path: str | Path, folder: str | Path) -> "Spool":
        """That of a score file."""
        return cls(path, SCORE_FILE, folder)

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._total

    def parts(self) -> Iterator[Trials]:
        """The list in parts of ``PART`` trials. Threads may read at the same time."""
        for table in self.tables():
            yield table.trials

    def tables(self) -> Iterator[ScoreTable]:
        """The same with scores: float64, none for a trial list."""
        size = self._type.itemsize
        for first in range(0, self._total, PART):
            data = os.pread(self._file.fileno(), PART * size, first * size)
            records = np.frombuffer(data, self._type)
            sides = records["sides"]
            label = (sides & _TARGET) != 0 if self._labelled else None
            enroll = ((sides & ~_TARGET) >> 32).astype(np.int32)
            test = sides.astype(np.int32)
            scores = np.ascontiguousarray(records["score"]) if len(self._type) > 1 else np.empty(0)
            yield ScoreTable(Trials(self.ids, enroll, test, label, self.source, first), scores)

    def _add(self, table: ScoreTable) -> None:
        trials = table.trials
        self.ids, self._labelled = trials.ids, trials.label is not None
        records = np.empty(len(trials), self._type)
        records["sides"] = trials.enroll
        records["sides"] <<= 32
        records["sides"] |= trials.test
        if trials.label is not None:
            records["sides"] |= trials.label * _TARGET
        if len(self._type) > 1:
            records["score"] = table.scores
        self._file.write(records)
        self._total += len(trials)
