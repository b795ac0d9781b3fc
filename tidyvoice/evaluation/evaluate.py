"""The evaluation of a score file, computed once and kept beside it.

``evaluate`` writes ``NAME.metrics.json`` beside ``NAME.score``. The file holds the SHA-256 of
everything that the metrics were computed from and of the modules that computed them. It is read
back only while all of these are the same, and computed anew otherwise.
"""

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from tidyvoice.errors import TidyVoiceWarning
from tidyvoice.evaluation import bootstrap, categories, labels, languages
from tidyvoice.evaluation.bootstrap import Resampled, resample, with_intervals
from tidyvoice.evaluation.categories import OPERATING_POINTS, POOLED, Row
from tidyvoice.evaluation.labels import read_labelled
from tidyvoice.evaluation.languages import LanguageRow, by_language
from tidyvoice.files import sha256, write_text
from tidyvoice.scoring import columns, groups, metrics, trials
from tidyvoice.scoring.groups import Groups, languages_of, read_maps, speakers_of
from tidyvoice.scoring.lineage import Lineage, lineage_path, read_lineage
from tidyvoice.scoring.metrics import Costs
from tidyvoice.scoring.trials import ScoreTable, checksum

# The modules that define the numbers: editing one makes every kept evaluation out of date.
DEFINING = (bootstrap, categories, columns, groups, labels, languages, metrics, trials)


@dataclass(frozen=True)
class Loaded:
    """Scored trials with labels, and where known the language and the speaker of each id."""

    table: ScoreTable
    languages: Groups | None
    speakers: Groups | None


@dataclass(frozen=True)
class ScoreFile:
    """A score file, and the files with the labels, languages and speakers of its trials.

    Attributes:
        path: the scores.
        trials: trial list that gives the labels; None where the score file has them.
        utt2lang, utt2spk: languages and speakers of the utterances; by default the ids tell.
    """

    path: Path
    trials: Path | None = None
    utt2lang: tuple[Path, ...] = ()
    utt2spk: tuple[Path, ...] = ()

    def load(self) -> Loaded:
        """Read the scores, and the languages and speakers of their ids.

        Raises:
            TidyVoiceError: a file is missing or faulty, the scores have no labels, or an utterance
                has no language or no speaker.
        """
        table = read_labelled(self.path, self.trials)
        categories.require_labels(table.trials)
        return Loaded(
            table,
            languages_of(table.trials, read_maps(self.utt2lang, "language")),
            speakers_of(table.trials, read_maps(self.utt2spk, "speaker")),
        )

    def files(self) -> dict[str, tuple[Path, ...]]:
        """Return the files that an evaluation depends on, by role."""
        return {
            "scores": (self.path,),
            "lineage": (lineage_path(self.path),),
            "trials": (self.trials,) if self.trials else (),
            "utt2lang": self.utt2lang,
            "utt2spk": self.utt2spk,
        }

    def checksums(self) -> dict[str, str]:
        """Return the SHA-256 of the files that exist, by role."""
        sums = {
            role: " ".join(sha256(path) for path in paths if path.is_file())
            for role, paths in self.files().items()
        }
        return {role: value for role, value in sums.items() if value}


@dataclass(frozen=True)
class Draws:
    """Metrics in R resamples of the speakers, for the paired difference of two systems.

    Attributes:
        speakers: SHA-256 of the speaker of each id. The draws of two systems on the same trials
            pair if it is the same.
        eer: by category, R values; None in a resample without trials of both kinds.
        min_dcf: of all trials, R values for each operating point.
    """

    speakers: str
    eer: dict[str, tuple[float | None, ...]]
    min_dcf: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class Evaluation:
    """Everything that is measured of a score file.

    Attributes:
        definition: SHA-256 of the modules that compute the metrics.
        inputs: SHA-256 of the files that the metrics were computed from, by role.
        trials: SHA-256 of the trial list, see ``trials.checksum``.
        speakers: their number; None where they are not known.
        resamples: of the speakers, for the confidence intervals; 0 for none.
        lineage: the steps that made the scores, and what is in-sample, confounded or unchecked.
        categories: metrics of all trials, then of the four categories.
        languages, pairs: metrics by language and by pair of languages at the first operating
            point; empty where the languages are not known.
        draws: None without resamples, and where the speakers are not known.
    """

    definition: str
    inputs: dict[str, str]
    trials: str
    speakers: int | None
    resamples: int
    lineage: Lineage
    categories: tuple[Row, ...]
    languages: tuple[LanguageRow, ...]
    pairs: tuple[LanguageRow, ...]
    draws: Draws | None

    @property
    def pooled(self) -> Row:
        """The metrics of all trials."""
        return self.categories[0]

    @property
    def points(self) -> tuple[Costs, ...]:
        """The operating points of the detection costs."""
        return tuple(point.costs for point in self.pooled.points)

    @property
    def calibrated(self) -> bool:
        """True if the scores are known to be log-likelihood ratios."""
        return self.lineage.calibrated

    def row(self, category: str) -> Row:
        """Return the metrics of one category."""
        return next(row for row in self.categories if row.category == category)

    def to_json(self) -> dict[str, Any]:
        """Return the metrics for JSON: rates as fractions, null for what is not available."""
        rows = [
            {**asdict(row), "min_dcf": row.min_dcf, "act_dcf": row.act_dcf}
            for row in self.categories
        ]
        return {
            "categories": rows,
            "languages": [asdict(row) for row in self.languages],
            "pairs": [asdict(row) for row in self.pairs],
            "speakers": self.speakers,
            "trials": self.trials,
            "resamples": self.resamples,
            "calibrated": self.calibrated,
            **self.lineage.to_json(),
        }


_JSON = TypeAdapter(Evaluation)


def evaluate(
    file: ScoreFile,
    points: Sequence[Costs] = OPERATING_POINTS,
    resamples: int = 0,
    loaded: Loaded | None = None,
) -> Evaluation:
    """Return the evaluation of a score file, read back from ``NAME.metrics.json`` if it holds.

    Args:
        points: priors and costs. Only evaluations at the usual points are kept.
        resamples: of the speakers, for 95 % confidence intervals; 0 for none.
        loaded: what ``file.load()`` returned, if it was called already.

    Raises:
        TidyVoiceError: see ``ScoreFile.load`` and ``evaluate_scores``; or the lineage beside the
            scores cannot be read.
    """
    if not file.path.is_file():
        loaded = loaded or file.load()  # names the file that is missing; a pipe can be read
    inputs, definition, lineage = file.checksums(), definition_checksum(), read_lineage(file.path)
    usual = tuple(points) == OPERATING_POINTS and file.path.is_file()
    kept = _read(kept_path(file.path)) if usual else None
    if kept and (kept.definition, kept.inputs) == (definition, inputs):
        if kept.resamples == resamples:
            return replace(kept, lineage=lineage)
        if not resamples:
            return _without_intervals(replace(kept, lineage=lineage))
    before = _state(file.path)
    evaluation = evaluate_scores(loaded or file.load(), lineage, points, resamples)
    evaluation = replace(evaluation, definition=definition, inputs=inputs)
    # Scores that another program replaced in the meantime may not be those that were read.
    if usual and _state(file.path) == before:
        _keep(kept_path(file.path), evaluation)
    return evaluation


def evaluate_scores(
    loaded: Loaded,
    lineage: Lineage,
    points: Sequence[Costs] = OPERATING_POINTS,
    resamples: int = 0,
) -> Evaluation:
    """Compute the evaluation of scores in memory.

    Raises:
        TidyVoiceError: the trials are all of one kind, or the speakers contradict the labels.
    """
    table, speakers = loaded.table, loaded.speakers
    rows = categories.evaluate(table, loaded.languages, points)
    single: Sequence[LanguageRow] = ()
    pairs: Sequence[LanguageRow] = ()
    if loaded.languages is not None:
        single, pairs = by_language(table, loaded.languages, points[0])
    draws = None
    if resamples and speakers is not None:
        resampled = resample(table, loaded.languages, speakers, points, resamples)
        rows, draws = with_intervals(rows, resampled), _draws(resampled, speakers)
    return Evaluation(
        definition="",
        inputs={},
        trials=checksum(table.trials),
        speakers=None if speakers is None else len(speakers.names),
        resamples=resamples,
        lineage=lineage,
        categories=tuple(rows),
        languages=tuple(single),
        pairs=tuple(pairs),
        draws=draws,
    )


def kept_path(scores: Path) -> Path:
    """Return the path at which the evaluation of a score file is kept."""
    name = scores.name.removesuffix(".gz").removesuffix(".score")
    return scores.with_name(f"{name}.metrics.json")


@cache
def definition_checksum() -> str:
    """Return the SHA-256 of the modules that define the metrics."""
    return hashlib.sha256("".join(sha256(m.__file__) for m in DEFINING).encode()).hexdigest()


def _draws(resampled: dict[str, Resampled], speakers: Groups) -> Draws:
    people = hashlib.sha256("\n".join(speakers.names).encode())
    people.update(np.ascontiguousarray(speakers.codes, dtype=np.int64).tobytes())
    return Draws(
        people.hexdigest(),
        {category: tuple(values.eer.tolist()) for category, values in resampled.items()},
        tuple(tuple(row) for row in resampled[POOLED].min_dcf.tolist()),
    )


def _without_intervals(evaluation: Evaluation) -> Evaluation:
    rows = []
    for row in evaluation.categories:
        points = tuple(
            replace(point, min_dcf_interval=None, act_dcf_interval=None) for point in row.points
        )
        rows.append(replace(row, points=points, eer_interval=None, cllr_interval=None))
    return replace(evaluation, categories=tuple(rows), resamples=0, draws=None)


def _state(path: Path) -> tuple[int, ...]:
    state = path.stat()
    return state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _read(path: Path) -> Evaluation | None:
    try:
        return _JSON.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _keep(path: Path, evaluation: Evaluation) -> None:
    problem = None
    if path.exists() and not _is_evaluation(path):
        problem = f"{path} is another kind of file; move it away"
    try:
        if problem is None:
            write_text(path, _JSON.dump_json(evaluation).decode() + "\n")
    except OSError as error:
        # The experiments of others can be evaluated too.
        problem = f"{path.parent}: {error.strerror}"
    if problem:
        warnings.warn(f"{problem}: the evaluation is not kept", TidyVoiceWarning, stacklevel=3)


def _is_evaluation(path: Path) -> bool:
    """Tell if a file is an evaluation of this or of another version."""
    try:
        return "definition" in dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return False
