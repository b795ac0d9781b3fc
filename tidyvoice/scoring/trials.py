"""Trial lists and score files.

    trial list   ``enroll test target|nontarget`` or ``1|0 enroll test`` or ``enroll test``
    score file   ``enroll test score [target|nontarget]``, in the order of the trial list

Columns are separated by any white space; a name ending in ``.gz`` is gzip. Ids keep the spelling
of the list; they are matched to others after one trailing ``.wav`` is dropped on either side.
"""

import gzip
import hashlib
import io
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
from tidyvoice.files import atomic_path
from tidyvoice.scoring.columns import IdCodes, Schema, more, read_blocks

LABELS = ("target", "nontarget")
BINARY_LABELS = ("1", "0")
TRIAL_FORMAT = "'enroll test target|nontarget', '1|0 enroll test' or 'enroll test'"
SCORE_FORMAT = "'enroll test score' or 'enroll test score target|nontarget'"
WRITE_BLOCK = 1_000_000


@dataclass(frozen=True)
class Trials:
    """A list of T trials over U distinct ids.

    Attributes:
        ids: the U ids, in the list's spelling, in order of first appearance.
        enroll, test: int32 [T], the enrolment and test side of each trial as a place in ``ids``.
        label: bool [T], True for a target trial (same speaker); None for a list without labels.
        source: the file it came from, for error messages. Trial t stands in line t + 1.
    """

    ids: list[str]
    enroll: np.ndarray
    test: np.ndarray
    label: np.ndarray | None
    source: str = "trials"

    def __len__(self) -> int:
        return len(self.enroll)

    def line_of(self, place: int) -> int:
        """The line of the first trial that ``ids[place]`` has a part in."""
        return int(np.argmax((self.enroll == place) | (self.test == place))) + 1

    def places_in(self, others: Sequence[str], what: str) -> np.ndarray:
        """Where each of ``ids`` stands in ``others``: int64 [U].

        Args:
            others: for example the ids of a table of embeddings.
            what: what ``others`` hold, for the error message: "embedding".

        Raises:
            TidyVoiceError: ids that differ only by ``.wav``, on either side, or an id that
                ``others`` lack: the first in the list with its line, and how many more.
        """
        _by_stem(self.ids, self.source)
        places = _by_stem(others, f"the ids with {what}")
        found = np.array([places.get(stem(i), -1) for i in self.ids], dtype=np.int64)
        missing = found < 0
        if missing.any():
            trial = int(np.argmax(missing[self.enroll] | missing[self.test]))
            side = self.enroll if missing[self.enroll[trial]] else self.test
            more = int(missing.sum()) - 1
            raise TidyVoiceError(
                f"{self.source}:{trial + 1}: no {what} for '{self.ids[side[trial]]}'"
                + (f", nor for {more:,} more ids of this list" if more else "")
                + f"; the {len(others):,} ids that have one look like '{next(iter(others), '')}'"
            )
        return found


@dataclass(frozen=True)
class ScoreTable:
    """Trials and their scores, float64 [T]: the higher, the likelier the same speaker."""

    trials: Trials
    scores: np.ndarray


def stem(utterance: str) -> str:
    """The id without one trailing ``.wav``, the form in which ids are compared."""
    return utterance.removesuffix(".wav")


def read_trials(path: str | Path) -> Trials:
    """Read a trial list in any of the three formats; the first line tells which it is.

    A trial that stands twice is warned of.

    Raises:
        TidyVoiceError: naming file, line and how many more there are: no lines, a wrong number of
            columns, a bad label, a trial that stands twice with different labels.
    """
    return _read(path, _trial_layout, TRIAL_FORMAT)[0]


def read_scores(path: str | Path) -> ScoreTable:
    """Read a score file, with labels or without.

    A trial that stands twice is warned of.

    Raises:
        TidyVoiceError: naming file, line and how many more there are: no lines, a wrong number of
            columns, a bad label, a score that is no finite number, a trial that stands twice with
            different labels.
    """
    return ScoreTable(*_read(path, _score_layout, SCORE_FORMAT))


def write_scores(path: str | Path, trials: Trials, scores: np.ndarray) -> None:
    """Write a score file, whole or not at all; the same input gives the same bytes.

    Args:
        scores: float [T], one a trial, in the order of the list.

    Raises:
        TidyVoiceError: another number of scores than of trials, or a score that is not finite.
    """
    path, scores = Path(path), np.asarray(scores)
    if scores.shape != (len(trials),):
        raise TidyVoiceError(f"{path}: {scores.shape} scores for {len(trials):,} trials")
    broken = np.flatnonzero(~np.isfinite(scores))
    if len(broken):
        raise TidyVoiceError(
            f"{path}: {len(broken):,} scores are not finite, the first is that of trial "
            f"{broken[0] + 1}"
        )
    with atomic_path(path) as partial, open(partial, "wb") as raw:
        if path.suffix == ".gz":
            with gzip.GzipFile("", "wb", compresslevel=4, fileobj=raw, mtime=0) as file:
                _write_columns(file, trials, scores)
        else:
            _write_columns(raw, trials, scores)


def write_trials(file: io.IOBase, trials: Trials) -> None:
    """Write ``enroll test [target|nontarget]``, one space between columns, to an open file."""
    _write_columns(file, trials, None)


def checksum(trials: Trials) -> str:
    """SHA-256 of the trials as ``write_trials`` writes them, whatever format they came in."""
    digest = _Digest()
    write_trials(digest, trials)
    return digest.sha256.hexdigest()


class _Digest(io.RawIOBase):
    """A file that keeps nothing but the checksum of what is written to it."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return len(data)


def _write_columns(file: io.IOBase, trials: Trials, scores: np.ndarray | None) -> None:
    ids = pl.Series(trials.ids, dtype=pl.String)
    words = pl.Series(LABELS[::-1])
    for start in range(0, len(trials), WRITE_BLOCK):
        part = slice(start, start + WRITE_BLOCK)
        columns = {"enroll": ids.gather(trials.enroll[part]), "test": ids.gather(trials.test[part])}
        if scores is not None:
            columns["score"] = pl.Series(scores[part])
        if trials.label is not None:
            columns["label"] = words.gather(trials.label[part].astype(np.uint32))
        table = pl.DataFrame(columns)
        table.write_csv(file, include_header=False, separator=" ", quote_style="never")


def _trial_layout(words: list[str]) -> list[str] | None:
    """Names of the columns, by the words of the first line."""
    if len(words) == 2:
        return ["enroll", "test"]
    if len(words) == 3 and words[2] in LABELS:
        return ["enroll", "test", "label"]
    if len(words) == 3 and words[0] in BINARY_LABELS:
        return ["label", "enroll", "test"]
    return None


def _score_layout(words: list[str]) -> list[str] | None:
    names = ["enroll", "test", "score", "label"]
    return names[: len(words)] if len(words) in (3, 4) else None


def _read(
    path: str | Path, layout: Callable[[list[str]], list[str] | None], expected: str
) -> tuple[Trials, np.ndarray]:
    """Trials, and their scores [T] (empty if the file has none)."""
    codes = IdCodes()
    types = {"enroll": codes.dtype, "test": codes.dtype, "score": pl.Float64, "label": pl.String}

    def schema(words: list[str]) -> Schema | None:
        names = layout(words)
        return names and {name: types[name] for name in names}

    enroll, test, labels, scores = [], [], [], [np.empty(0)]
    fault, faults = "", 0
    with closing(read_blocks(path, schema, expected)) as blocks:
        for first, table in blocks:
            for side, numbers in zip(
                (enroll, test), codes.encode(table["enroll"], table["test"]), strict=True
            ):
                side.append(numbers)
            checks = []
            if "score" in table.columns:
                values = table["score"].cast(pl.Float64, strict=False)
                finite = values.is_finite().fill_null(False)
                checks.append(("score", finite, "the score '{}' is not a finite number"))
                scores.append(values.to_numpy())
            if "label" in table.columns:
                words = BINARY_LABELS if table.columns[0] == "label" else LABELS
                is_target = table["label"] == words[0]
                known = is_target | (table["label"] == words[1])
                use = f"bad label '{{}}', use '{words[0]}' or '{words[1]}'"
                checks.append(("label", known, use))
                labels.append(is_target.to_numpy())
            bad = ~np.logical_and.reduce([good.to_numpy() for _, good, _ in checks], axis=0)
            if bad.any():
                row = int(np.argmax(bad))
                name, said = next((name, said) for name, good, said in checks if not good[row])
                fault = fault or f"{path}:{first + row}: {said.format(table[name][row])}"
                faults += int(bad.sum())
    if faults:
        raise TidyVoiceError(f"{fault}{more(faults - 1)}; expected {expected}")
    label = np.concatenate(labels) if labels else None
    trials = Trials(codes.ids, np.concatenate(enroll), np.concatenate(test), label, str(path))
    _look_for_repetitions(trials)
    return trials, np.concatenate(scores)


def _look_for_repetitions(trials: Trials) -> None:
    def repeated(part: int) -> bool:
        rows = trials.enroll % 2 == part
        key = trials.enroll[rows].astype(np.int64) * len(trials.ids) + trials.test[rows]
        key.sort()
        return bool((key[1:] == key[:-1]).any())

    with ThreadPoolExecutor(2) as pool:
        if not any(pool.map(repeated, range(2))):
            return
    order = np.lexsort((np.arange(len(trials)), trials.test, trials.enroll))
    enroll, test = trials.enroll[order], trials.test[order]
    later = np.flatnonzero((enroll[1:] == enroll[:-1]) & (test[1:] == test[:-1])) + 1
    at = later[np.argmin(order[later])]
    said = (
        f"{trials.source}:{order[at] + 1}: the trial '{trials.ids[trials.enroll[order[at]]]} "
        f"{trials.ids[trials.test[order[at]]]}' stands in line {order[at - 1] + 1} already"
        f"{more(len(later) - 1)}"
    )
    if trials.label is not None:
        other = trials.label[order[later]] != trials.label[order[later - 1]]
        if other.any():
            raise TidyVoiceError(
                f"{said}, {int(other.sum()):,} of them with the other label; remove what is wrong"
            )
    warnings.warn(f"{said}; each counts", TidyVoiceWarning, stacklevel=4)


def _by_stem(ids: Sequence[str], where: str) -> dict[str, int]:
    places: dict[str, int] = {}
    for place, utterance in enumerate(ids):
        other = places.setdefault(stem(utterance), place)
        if other != place:
            raise TidyVoiceError(
                f"{where}: '{ids[other]}' and '{utterance}' are the same id once '.wav' is "
                "dropped; rename one of them"
            )
    return places
