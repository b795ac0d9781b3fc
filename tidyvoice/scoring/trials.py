"""Trial lists and score files.

    trial list   ``enroll test target|nontarget`` or ``1|0 enroll test`` or ``enroll test``
    score file   ``enroll test score [target|nontarget]``, in the order of the trial list

Columns are separated by any white space; a name ending in ``.gz`` is gzip. Ids keep the spelling
of the list; they are matched to others after one trailing ``.wav`` is dropped on either side.
"""

import gzip
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import atomic_path
from tidyvoice.scoring.columns import IdCodes, read_blocks

LABELS = ("target", "nontarget")
TRIAL_FORMAT = "'enroll test target|nontarget', '1|0 enroll test' or 'enroll test'"
SCORE_FORMAT = "'enroll test score' or 'enroll test score target|nontarget'"
WRITE_BLOCK = 1_000_000


@dataclass(frozen=True)
class Trials:
    """A list of T trials over U distinct ids.

    Attributes:
        ids: the U ids, in the list's spelling, in order of first appearance by block.
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

    Raises:
        TidyVoiceError: naming file and line: no lines, a wrong number of columns, a bad label.
    """
    codes, parts, layout = IdCodes(), [], None
    for first, table in read_blocks(path, (2, 3), TRIAL_FORMAT):
        layout = layout or _trial_layout(path, table)
        names, column, words = layout
        enroll, test = codes.encode(*(table[name] for name in names))
        label = None if column is None else _labels(path, first, table[column], words)
        parts.append((enroll, test, label))
    return _joined(codes, parts, path)


def read_scores(path: str | Path) -> ScoreTable:
    """Read a score file, with labels or without.

    Raises:
        TidyVoiceError: naming file and line: no lines, a wrong number of columns, a bad label, a
            score that is no finite number.
    """
    codes, parts, scores = IdCodes(), [], []
    for first, table in read_blocks(path, (3, 4), SCORE_FORMAT):
        enroll, test = codes.encode(table["0"], table["1"])
        values = table["2"].cast(pl.Float64, strict=False)
        bad = ~values.is_finite().fill_null(False)
        if bad.any():
            row = bad.arg_max()
            raise TidyVoiceError(
                f"{path}:{first + row}: the score '{table['2'][row]}' is not a finite number; "
                f"expected {SCORE_FORMAT}"
            )
        label = _labels(path, first, table["3"], LABELS) if table.width == 4 else None
        parts.append((enroll, test, label))
        scores.append(values.to_numpy())
    return ScoreTable(_joined(codes, parts, path), np.concatenate(scores))


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


def _trial_layout(
    path: str | Path, table: pl.DataFrame
) -> tuple[tuple[str, str], str | None, tuple[str, str]]:
    """The id columns, the label column, and its words for target and non-target."""
    if table.width == 2:
        return ("0", "1"), None, LABELS
    if table["2"][0] in LABELS:
        return ("0", "1"), "2", LABELS
    if table["0"][0] in ("1", "0"):
        return ("1", "2"), "0", ("1", "0")
    raise TidyVoiceError(f"{path}:1: no label in '{' '.join(table.row(0))}'; use {TRIAL_FORMAT}")


def _labels(path: str | Path, first: int, column: pl.Series, words: tuple[str, str]) -> np.ndarray:
    bad = ~column.is_in(words)
    if bad.any():
        row = bad.arg_max()
        raise TidyVoiceError(
            f"{path}:{first + row}: bad label '{column[row]}'; use '{words[0]}' or '{words[1]}', "
            "as in the lines before"
        )
    return (column == words[0]).to_numpy()


def _joined(codes: IdCodes, parts: list[tuple], path: str | Path) -> Trials:
    enroll, test, label = zip(*parts, strict=True)
    labels = None if label[0] is None else np.concatenate(label)
    return Trials(codes.ids, np.concatenate(enroll), np.concatenate(test), labels, str(path))


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
