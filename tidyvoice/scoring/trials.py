"""Trial lists and score files.

    trial list   ``enroll test target|nontarget`` or ``1|0 enroll test`` or ``enroll test``
    score file   ``enroll test score [target|nontarget]``, in the order of the trial list

Columns are separated by any white space; a name ending in ``.gz`` is gzip. Ids keep the spelling
of the list; they are matched to others after one trailing ``.wav`` is dropped on either side.
"""

import gzip
import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import atomic_path
from tidyvoice.readahead import one_ahead
from tidyvoice.scoring.columns import IdCodes, Schema, more, read_blocks
from tidyvoice.scoring.repetitions import look_for_repetitions

LABELS = ("target", "nontarget")
BINARY_LABELS = ("1", "0")
TRIAL_FORMAT = "'enroll test target|nontarget', '1|0 enroll test' or 'enroll test'"
SCORE_FORMAT = "'enroll test score' or 'enroll test score target|nontarget'"
WRITE_BLOCK = 1_000_000


class TrialList:
    """A list of trials over U distinct ids, in memory (``Trials``) or on disk (``spool.Spool``).

    Attributes:
        ids: the U ids, in the list's spelling, in order of first appearance.
        source: the file it came from, for error messages.
    """

    ids: list[str]
    source: str

    def __len__(self) -> int:
        raise NotImplementedError

    def parts(self) -> Iterator["Trials"]:
        """The list, part after part; all parts share ``ids``."""
        raise NotImplementedError

    def places_in(self, others: Sequence[str], what: str) -> np.ndarray:
        """Where each of ``ids`` stands in ``others``: int64 [U].

        Args:
            others: for example the ids of a table of embeddings.
            what: what ``others`` hold, for the error message: "embedding".

        Raises:
            TidyVoiceError: ids that differ only by ``.wav``, on either side, or an id that
                ``others`` lack: the first in the list with its line, and how many more.
        """
        by_stem(self.ids, self.source)
        places = by_stem(others, f"the ids with {what}")
        found = np.array([places.get(stem(i), -1) for i in self.ids], dtype=np.int64)
        missing = found < 0
        if missing.any():
            line, first = self.first_of(missing)
            more = int(missing.sum()) - 1
            raise TidyVoiceError(
                f"{self.source}:{line}: no {what} for '{self.ids[first]}'"
                + (f", nor for {more:,} more ids of this list" if more else "")
                + f"; the {len(others):,} ids that have one look like '{next(iter(others), '')}'"
            )
        return found

    def first_of(self, chosen: np.ndarray) -> tuple[int, int]:
        """The line of the first trial that a chosen id has a part in, and that id's place.

        Args:
            chosen: bool [U], at least one of them True.
        """
        for part in self.parts():
            sides = np.stack([chosen[part.enroll], chosen[part.test]])
            hit = sides.any(axis=0)
            if hit.any():
                trial = int(np.argmax(hit))
                side = part.enroll if sides[0, trial] else part.test
                return part.line(trial), int(side[trial])
        raise ValueError("no trial has a chosen id")


@dataclass(frozen=True)
class Trials(TrialList):
    """T trials in memory.

    Attributes:
        enroll, test: int32 [T], the enrolment and test side of each trial as a place in ``ids``.
        label: bool [T], True for a target trial (same speaker); None for a list without labels.
        first: how many trials of the file stand before these.
    """

    ids: list[str]
    enroll: np.ndarray
    test: np.ndarray
    label: np.ndarray | None
    source: str = "trials"
    first: int = 0

    def __len__(self) -> int:
        return len(self.enroll)

    def parts(self) -> Iterator["Trials"]:
        """The list as one part."""
        yield self

    def line(self, trial: int) -> int:
        """The line of the file in which the trial stands."""
        return self.first + trial + 1


@dataclass(frozen=True)
class ScoreTable:
    """Trials and their scores, float64 [T]: the higher, the likelier the same speaker."""

    trials: Trials
    scores: np.ndarray


def stem(utterance: str) -> str:
    """The id without one trailing ``.wav``, the form in which ids are compared."""
    return utterance.removesuffix(".wav")


@dataclass(frozen=True)
class Format:
    """How a file's columns are told apart.

    Attributes:
        columns: their names, by the words of the first line; None if it fits no format.
        text: the format in words.
    """

    columns: Callable[[list[str]], list[str] | None]
    text: str


def read_trials(path: str | Path) -> Trials:
    """Read a trial list in any of the three formats; the first line tells which it is.

    A trial that stands twice is warned of.

    Raises:
        TidyVoiceError: naming file, line and how many more there are: no lines, a wrong number of
            columns, a bad label, a trial that stands twice with different labels.
    """
    return _read(path, TRIAL_LIST).trials


def read_scores(path: str | Path) -> ScoreTable:
    """Read a score file, with labels or without.

    A trial that stands twice is warned of.

    Raises:
        TidyVoiceError: naming file, line and how many more there are: no lines, a wrong number of
            columns, a bad label, a score that is no finite number, a trial that stands twice with
            different labels.
    """
    return _read(path, SCORE_FILE)


def write_scores(path: str | Path, tables: Iterable[ScoreTable]) -> None:
    """Write a score file, whole or not at all; the same input gives the same bytes.

    Args:
        tables: the list, part after part, with its scores.

    Raises:
        TidyVoiceError: another number of scores than of trials, or a score that is not finite.
    """
    path = Path(path)
    with atomic_path(path) as partial, open(partial, "wb") as raw:
        if path.suffix == ".gz":
            with gzip.GzipFile("", "wb", compresslevel=4, fileobj=raw, mtime=0) as file:
                _write_tables(file, path, tables)
        else:
            _write_tables(raw, path, tables)


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


def _write_tables(file: io.IOBase, path: Path, tables: Iterable[ScoreTable]) -> None:
    for table in tables:
        trials, scores = table.trials, np.asarray(table.scores)
        if scores.shape != (len(trials),):
            raise TidyVoiceError(f"{path}: {scores.shape} scores for {len(trials):,} trials")
        broken = np.flatnonzero(~np.isfinite(scores))
        if len(broken):
            raise TidyVoiceError(
                f"{path}: {len(broken):,} scores are not finite, the first is that of trial "
                f"{trials.line(int(broken[0]))}"
            )
        _write_columns(file, trials, scores)


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


TRIAL_LIST = Format(_trial_layout, TRIAL_FORMAT)
SCORE_FILE = Format(_score_layout, SCORE_FORMAT)


def read_parts(path: str | Path, kind: Format) -> Iterator[ScoreTable]:
    """The file part by part; a list of trials has empty scores. All parts share their ids.

    Raises:
        TidyVoiceError: see ``read_trials`` and ``read_scores``; repetitions are not looked for.
    """
    codes = IdCodes()
    types = {"enroll": pl.String, "test": pl.String, "score": pl.Float64, "label": pl.String}

    def schema(words: list[str]) -> Schema | None:
        names = kind.columns(words)
        return names and {name: types[name] for name in names}

    fault, faults = "", 0
    with (
        closing(read_blocks(path, schema, kind.text)) as read,
        closing(one_ahead(read)) as blocks,
    ):
        for first, table in blocks:
            enroll, test = codes.encode(table["enroll"], table["test"])
            checks, label, scores = [], None, np.empty(0)
            if "score" in table.columns:
                values = table["score"].cast(pl.Float64, strict=False)
                finite = values.is_finite().fill_null(False)
                checks.append(("score", finite, "the score '{}' is not a finite number"))
                scores = values.to_numpy()
            if "label" in table.columns:
                words = BINARY_LABELS if table.columns[0] == "label" else LABELS
                is_target = table["label"] == words[0]
                known = is_target | (table["label"] == words[1])
                use = f"bad label '{{}}', use '{words[0]}' or '{words[1]}'"
                checks.append(("label", known, use))
                label = is_target.to_numpy()
            bad = ~np.logical_and.reduce([good.to_numpy() for _, good, _ in checks], axis=0)
            if bad.any():
                row = int(np.argmax(bad))
                name, said = next((name, said) for name, good, said in checks if not good[row])
                fault = fault or f"{path}:{first + row}: {said.format(table[name][row])}"
                faults += int(bad.sum())
            if not faults:
                trials = Trials(codes.ids, enroll, test, label, str(path), first - 1)
                yield ScoreTable(trials, scores)
    if faults:
        raise TidyVoiceError(f"{fault}{more(faults - 1)}; expected {kind.text}")


def _read(path: str | Path, kind: Format) -> ScoreTable:
    with closing(read_parts(path, kind)) as parts:
        tables = list(parts)
    first = tables[0].trials
    trials = Trials(
        first.ids,
        np.concatenate([table.trials.enroll for table in tables]),
        np.concatenate([table.trials.test for table in tables]),
        None if first.label is None else np.concatenate([table.trials.label for table in tables]),
        first.source,
    )
    look_for_repetitions(trials)
    return ScoreTable(trials, np.concatenate([table.scores for table in tables]))


def by_stem(ids: Sequence[str], where: str) -> dict[str, int]:
    """The place of each id, by its stem.

    Args:
        where: whose ids they are, for the error message.

    Raises:
        TidyVoiceError: two of them have the same stem.
    """
    places: dict[str, int] = {}
    for place, utterance in enumerate(ids):
        other = places.setdefault(stem(utterance), place)
        if other != place:
            raise TidyVoiceError(
                f"{where}: '{ids[other]}' and '{utterance}' are the same id once '.wav' is "
                "dropped; rename one of them"
            )
    return places
