"""EER and minDCF of a score file, measured once: a list of 12 million trials takes seconds.

What was measured is kept in ``.NAME.score.metrics.json`` beside the file, together with all that it
follows from. It counts only while every one of these is the same: size, times and fingerprint of
the file (``scoring.lineage``), the lineage beside it, and the program that measures.
"""

import warnings
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from tidyvoice.errors import TidyVoiceWarning
from tidyvoice.evaluation.categories import OPERATING_POINTS, category_scores
from tidyvoice.files import sha256, write_text
from tidyvoice.scoring import metrics, trials
from tidyvoice.scoring.lineage import fingerprint, read_lineage


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Result(_Kept):
    """How good the scores of a labelled list are.

    Attributes:
        eer: a fraction.
        min_dcf: normalised, at the challenge's operating point.
        trials: checksum of the list (``trials.checksum``).
        in_sample: overlaps of speakers that were allowed by a flag, in words.
        confounded: quality measures that alone separate targets from non-targets, in words.
    """

    targets: int
    nontargets: int
    eer: float
    min_dcf: float
    trials: str
    in_sample: tuple[str, ...]
    confounded: tuple[str, ...]


class _Sources(_Kept):
    """What a result follows from."""

    fingerprint: str
    modified: int
    changed: int
    lineage: str | None
    program: tuple[str, ...]


class _Measured(_Kept):
    sources: _Sources
    result: Result | None


def measure(path: Path) -> Result | None:
    """The result of a score file, from what was kept if that still holds; None without labels.

    Raises:
        TidyVoiceError: the file is faulty, has trials of one kind alone, or its lineage cannot be
            read.
    """
    kept, sources = _beside(path), _sources(path)
    try:
        measured = _Measured.model_validate_json(kept.read_bytes())
    except (OSError, ValidationError):
        measured = None
    if measured is not None and measured.sources == sources:
        return measured.result
    result = _measure(path)
    # Scores that were written anew in the meantime may not be those that were read.
    if _sources(path) == sources:
        _keep(kept, _Measured(sources=sources, result=result))
    return result


def _measure(path: Path) -> Result | None:
    table = trials.read_scores(path)
    if table.trials.label is None:
        return None
    _, targets, nontargets, scores = next(category_scores(table, None))
    rates = metrics.error_rates(scores)
    lineage = read_lineage(path)
    return Result(
        targets=targets,
        nontargets=nontargets,
        eer=metrics.eer_of(rates),
        min_dcf=metrics.min_dcf_of(rates, OPERATING_POINTS[0]),
        trials=trials.checksum(table.trials),
        in_sample=tuple(lineage.in_sample),
        confounded=tuple(lineage.confounded),
    )


def _sources(path: Path) -> _Sources:
    lineage, state = path.with_name(f"{path.name}.json"), path.stat()
    return _Sources(
        fingerprint=fingerprint(path),
        modified=state.st_mtime_ns,
        # Nobody sets this one back: of a large file the fingerprint takes samples.
        changed=state.st_ctime_ns,
        lineage=sha256(lineage) if lineage.is_file() else None,
        program=tuple(sha256(module.__file__) for module in (metrics, trials)),
    )


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.metrics.json")


def _keep(path: Path, measured: _Measured) -> None:
    try:
        write_text(path, measured.model_dump_json() + "\n")
    except OSError as error:
        # Experiments of others can be looked at too.
        said = f"{path.parent}: {error.strerror}; what was measured is not kept"
        warnings.warn(said, TidyVoiceWarning, stacklevel=4)
