"""Trial lists and score files.

    trial list   ``enroll test target|nontarget`` or ``1|0 enroll test`` or ``enroll test``
    score file   ``enroll test score [target|nontarget]``, in the order of the trial list

Any white space separates the columns; a file whose name ends in ``.gz`` is gzip. Ids keep the
spelling of the list. They match other ids with or without one trailing ``.wav``.
"""

import gzip
import hashlib
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
import polars as pl

from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
from tidyvoice.files import atomic_path
from tidyvoice.scoring.columns import Columns, more, read_columns

LABELS = ("target", "nontarget")
TRIAL_FORMAT = "'enroll test target|nontarget', '1|0 enroll test' or 'enroll test'"
SCORE_FORMAT = "'enroll test score' or 'enroll test score target|nontarget' with finite scores"
# A list is written in blocks, so that its text needs the same memory for any length.
BLOCK = 2**20

# All categoricals of polars share one table, so that an id has one code on both sides.
SIDES = {"enroll": pl.Categorical, "test": pl.Categorical}
WORDS, DIGITS = pl.Enum(["nontarget", "target"]), pl.Enum(["0", "1"])


@dataclass(frozen=True)
class Trials:
    """T trials over U distinct ids.

    Attributes:
        ids: the U ids, in the list's spelling; files give them in order of first appearance.
        enroll, test: int32 [T], the enrolment and test side of each trial as a place in ``ids``.
        label: bool [T], True for a target trial (same speaker); None for a list without labels.
        source: the file, for error messages. Trial t stands in its line t + 1.
    """

    ids: list[str]
    enroll: np.ndarray
    test: np.ndarray
    label: np.ndarray | None
    source: str = "trials"

    def __len__(self) -> int:
        return len(self.enroll)

    def pair(self, trial: int) -> str:
        """Return the two ids of a trial as the list has them: "enroll test"."""
        return f"{self.ids[self.enroll[trial]]} {self.ids[self.test[trial]]}"

    def first_other(self, other: "Trials") -> int | None:
        """Return the first trial whose ids or labels differ from those of ``other``; None without.

        Ids match with or without ``.wav``. Labels count where both lists have them, and trials up
        to the end of the shorter list.
        """
        rows = _match(self.ids, self.source, other.ids, other.source).astype(np.int32)
        both = slice(min(len(self), len(other)))
        wrong = rows[self.enroll[both]] != other.enroll[both]
        wrong |= rows[self.test[both]] != other.test[both]
        if self.label is not None and other.label is not None:
            wrong |= self.label[both] != other.label[both]
        return int(np.argmax(wrong)) if wrong.any() else None

    def places_in(self, others: Sequence[str], what: str) -> np.ndarray:
        """Find each of ``ids`` in ``others``: int64 [U].

        ``what`` names in the error message what each of ``others`` has: "embedding".
        """
        rows = _match(self.ids, self.source, others, f"the ids with {what}")
        missing = rows < 0
        if missing.any():
            trial = int(np.argmax(missing[self.enroll] | missing[self.test]))
            side = self.enroll if missing[self.enroll[trial]] else self.test
            rest = int(missing.sum()) - 1
            which = f"'{self.ids[side[trial]]}'" + (f", nor for {rest:,} more ids" if rest else "")
            hint = f"the {len(others):,} ids with one look like '{next(iter(others), '')}'"
            raise TidyVoiceError(f"{self.source}:{trial + 1}: no {what} for {which}; {hint}")
        return rows

    def refuse(self, wrong: np.ndarray, problem: str) -> None:
        """Refuse the trials that are marked, bool [T], naming the first."""
        if wrong.any():
            first, rest = int(np.argmax(wrong)), more(int(wrong.sum()) - 1)
            where = f"{self.source}:{first + 1}: the trial '{self.pair(first)}'"
            raise TidyVoiceError(f"{where}{rest} {problem}")


@dataclass(frozen=True)
class ScoreTable:
    """Trials and their scores, float [T]; a higher score means the same speaker."""

    trials: Trials
    scores: np.ndarray


def stem(utterance: str) -> str:
    """Return the id without one trailing ``.wav``, the form in which ids are compared."""
    return utterance.removesuffix(".wav")


def by_stem(ids: Sequence[str], where: str) -> dict[str, int]:
    """Map the stem of each id to its place; ``where`` is the source of the ids in errors."""
    places: dict[str, int] = {}
    for place, utterance in enumerate(ids):
        other = places.setdefault(stem(utterance), place)
        if other != place:
            both = f"'{ids[other]}' and '{utterance}'"
            raise TidyVoiceError(f"{where}: {both} are the same id without '.wav'. Rename one.")
    return places


def _match(ids: Sequence[str], source: str, others: Sequence[str], where: str) -> np.ndarray:
    """Return the place of each id in ``others``, -1 for none: int64 [U]."""
    by_stem(ids, source)
    places = by_stem(others, where)
    return np.array([places.get(stem(i), -1) for i in ids], dtype=np.int64)


def read_trials(path: str | Path) -> Trials:
    """Read a trial list in any of the three formats; a repeated trial gives a warning.

    Repeated with the other label it is an error, and so is a line of another form.
    """
    return _read(path, _trial_columns, TRIAL_FORMAT).trials


def read_scores(path: str | Path) -> ScoreTable:
    """Read a score file, with labels or without; errors and warnings as in ``read_trials``."""
    return _read(path, _score_columns, SCORE_FORMAT)


def read_labelled(scores: str | Path, key: str | Path | None = None) -> ScoreTable:
    """Read a score file; the trial list ``key`` gives the labels of its pairs (enroll, test).

    The order of ``key`` does not matter. A pair that is in only one of the two files is an error,
    and so is a score with another label.
    """
    table = read_scores(scores)
    if key is None:
        return table
    trials, labelled = table.trials, read_trials(key)
    if labelled.label is None:
        forms = "'1|0 enroll test' or 'enroll test target|nontarget'"
        raise TidyVoiceError(f"{key}:1: a list without labels. Give lines {forms}.")
    # Joining 12 million pairs takes seconds, this comparison 0.1 s.
    same = len(trials) == len(labelled) and trials.first_other(labelled) is None
    label = labelled.label if same else _joined(trials, labelled)
    if trials.label is not None:
        trials.refuse(label != trials.label, f"has another label in {key}; remove the wrong one")
    return ScoreTable(replace(trials, label=label), table.scores)


def write_scores(path: str | Path, table: ScoreTable) -> None:
    """Write a score file; a score that is not finite is an error."""
    path = Path(path)
    broken = np.flatnonzero(~np.isfinite(table.scores))
    if len(broken):
        which = f"{len(broken):,} scores are not finite, the first is that of trial {broken[0] + 1}"
        raise TidyVoiceError(f"{path}: {which}. Check the embeddings.")
    blocks = _text(table.trials, table.scores)
    with atomic_path(path) as partial, open(partial, "wb") as file:
        if path.suffix == ".gz":
            with gzip.GzipFile("", "wb", compresslevel=4, fileobj=file, mtime=0) as packed:
                packed.writelines(blocks)
        else:
            file.writelines(blocks)


def write_trials(file: IO[bytes], trials: Trials) -> None:
    """Write ``enroll test [target|nontarget]``, one space between columns, to an open file."""
    file.writelines(_text(trials))


def checksum(trials: Trials) -> str:
    """Return the SHA-256 of the trials as ``write_trials`` writes them, whatever their format."""
    digest = hashlib.sha256()
    for block in _text(trials):
        digest.update(block)
    return digest.hexdigest()


def _text(trials: Trials, scores: np.ndarray | None = None) -> Iterator[memoryview]:
    """Yield the lines of a file, block by block."""
    ids, labels = pl.Series(trials.ids, dtype=pl.String), pl.Series(LABELS[::-1])
    for start in range(0, len(trials), BLOCK):
        part = slice(start, start + BLOCK)
        columns = {"enroll": ids.gather(trials.enroll[part]), "test": ids.gather(trials.test[part])}
        if scores is not None:
            columns["score"] = pl.Series(scores[part])
        if trials.label is not None:
            columns["label"] = labels.gather(trials.label[part].astype(np.uint32))
        text = io.BytesIO()
        pl.DataFrame(columns).write_csv(
            text, include_header=False, separator=" ", quote_style="never"
        )
        yield text.getbuffer()


def _trial_columns(words: list[str]) -> Columns | None:
    """Return the columns of a trial list, by the words of its first line."""
    if len(words) == 3 and words[2] in LABELS:
        return {**SIDES, "label": WORDS}
    if len(words) == 3 and words[0] in ("0", "1"):
        return {"label": DIGITS, **SIDES}
    return SIDES if len(words) == 2 else None


def _score_columns(words: list[str]) -> Columns | None:
    columns = {**SIDES, "score": pl.Float64, "label": WORDS}
    return dict(list(columns.items())[: len(words)]) if len(words) in (3, 4) else None


def _read(
    path: str | Path, columns_of: Callable[[list[str]], Columns | None], expected: str
) -> ScoreTable:
    table = read_columns(path, columns_of, expected)
    label = table["label"].to_physical().to_numpy() == 1 if "label" in table.columns else None
    scores = table["score"].to_numpy() if "score" in table.columns else None
    trials = Trials(*_numbered(table["enroll"], table["test"]), label, str(path))
    del table
    _check_repetitions(trials)
    return ScoreTable(trials, scores)


def _numbered(enroll: pl.Series, test: pl.Series) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Number the ids in order of first appearance: the ids, and both sides as int32 [T]."""
    sides = [side.to_physical().to_numpy() for side in (enroll, test)]
    distinct = pl.Series(np.stack(sides, axis=1).ravel()).unique(maintain_order=True).to_numpy()
    places = np.empty(int(distinct.max()) + 1, dtype=np.int32)
    places[distinct] = np.arange(len(distinct), dtype=np.int32)
    names = pl.concat([enroll.unique(), test.unique()]).unique()
    order = np.argsort(places[names.to_physical().to_numpy()])
    return names.cast(pl.String).gather(order).to_list(), places[sides[0]], places[sides[1]]


def _check_repetitions(trials: Trials) -> None:
    """Warn of trials that the list repeats; refuse those with another label."""
    pairs = trials.enroll.astype(np.int64) * len(trials.ids) + trials.test
    ordered = np.sort(pairs)
    if not (ordered[1:] == ordered[:-1]).any():
        return
    again = np.flatnonzero(~pl.Series(pairs).is_first_distinct().to_numpy())
    first = np.flatnonzero(pairs == pairs[again[0]])[0]
    text = (
        f"{trials.source}:{again[0] + 1}: the trial '{trials.pair(again[0])}' is already in line "
        f"{first + 1}{more(len(again) - 1)}"
    )
    if trials.label is not None:
        wrong = len(np.unique(2 * pairs + trials.label)) - (len(pairs) - len(again))
        if wrong:
            fix = "Remove the wrong lines."
            raise TidyVoiceError(f"{text}, {wrong:,} of them with the other label. {fix}")
    warnings.warn(f"{text}; each counts", TidyVoiceWarning, stacklevel=4)


def _joined(trials: Trials, key: Trials) -> np.ndarray:
    """Look up the label of each trial by its pair: bool [T]."""
    rows = _match(key.ids, key.source, trials.ids, trials.source)
    scored = pl.DataFrame({"pair": trials.enroll.astype(np.int64) << 32 | trials.test})
    # An id without a score makes the pair negative.
    pairs = {"pair": rows[key.enroll] << 32 | rows[key.test], "label": key.label}
    listed = pl.DataFrame(pairs).unique("pair", keep="any")
    label = scored.join(listed, on="pair", how="left", maintain_order="left")["label"]
    advice = "give the list that was scored"
    trials.refuse(label.is_null().to_numpy(), f"is not in {key.source}; {advice}")
    extra = ~pl.Series(pairs["pair"]).is_in(scored["pair"].implode()).to_numpy()
    key.refuse(extra, f"has no score in {trials.source}; {advice}")
    return label.to_numpy()
