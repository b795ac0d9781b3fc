"""Score and normalise from files to a score file, with leak guard and provenance."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
from tidyvoice.scoring.cohort import Cohort
from tidyvoice.scoring.cosine import cosine_scores
from tidyvoice.scoring.groups import read_maps
from tidyvoice.scoring.language_norm import LanguageWeights, normalize_by_language
from tidyvoice.scoring.leaks import LeakGuard, People
from tidyvoice.scoring.lineage import Lineage, read_lineage, refuse_to_lose, write_with_lineage
from tidyvoice.scoring.normalization import METHODS, normalize
from tidyvoice.scoring.provenance import Step
from tidyvoice.scoring.tables import CohortFiles, Tables
from tidyvoice.scoring.trials import ScoreTable, read_scores, read_trials

BY_LANGUAGE = "language"


@dataclass(frozen=True)
class ScoringResult:
    """A new score file: its number of trials, and its provenance."""

    out: Path
    trials: int
    lineage: Lineage


def score_list(
    embeddings: Path,
    trials: Path,
    out: Path,
    mean: Path | None = None,
    utt2spk: Sequence[Path] = (),
    allow_overlap: bool = False,
) -> ScoringResult:
    """Write the cosine scores of a trial list.

    Args:
        mean: embeddings whose mean is subtracted first.
        utt2spk: speakers of the list's ids, for the leak guard; by default from the ids.
        allow_overlap: record overlaps of speakers in the provenance instead of refusing them.
    """
    refuse_to_lose(out, [embeddings, trials, *([mean] if mean else []), *utt2spk])
    tables, listed = Tables([embeddings], mean), read_trials(trials)
    evaluated = People.of("trials", trials, listed, read_maps(utt2spk, "speaker"))
    guard = LeakGuard(allow_overlap)
    tables.check(guard, evaluated)
    inputs = (*tables.sources(), evaluated.source)
    settings = {"model": tables.embeddings.model, "averaged": tables.averaged}
    step = Step(step="cosine", inputs=inputs, settings=settings, remarks=guard.remarks)
    scores = cosine_scores(tables.embeddings, listed, tables.mean)
    return write_result(out, ScoreTable(listed, scores), [step])


def normalize_scores(
    scores: Path,
    embeddings: Path,
    cohort: CohortFiles,
    out: Path,
    mean: Path | None = None,
    method: str = "asnorm",
    utt2lang: Sequence[Path] = (),
    blind: bool = False,
    utt2spk: Sequence[Path] = (),
    allow_overlap: bool = False,
) -> ScoringResult:
    """Write normalised scores of a file of cosine scores.

    Args:
        method: "asnorm", "snorm" or "language".
        utt2lang: languages of the evaluated utterances, for "language"; by default from the ids.
        blind: guess the languages of the evaluated utterances instead.
    """
    if method not in (*METHODS, BY_LANGUAGE):
        methods = ", ".join((*METHODS, BY_LANGUAGE))
        raise TidyVoiceError(f"--method {method}: no such method. Use one of {methods}.")
    read = [scores, embeddings, *cohort.files().values(), *([mean] if mean else [])]
    refuse_to_lose(out, [*read, *utt2lang, *utt2spk])
    tables, scored = Tables([embeddings], mean, cohort), read_scores(scores)
    entries = tables.cohort(by_language=method == BY_LANGUAGE)
    guard = LeakGuard(allow_overlap)
    tables.check(guard, People.of("trials", scores, scored.trials, read_maps(utt2spk, "speaker")))
    settings = {} if method == "snorm" else {"top_n": cohort.top_n}
    if method == BY_LANGUAGE:
        languages = tables.languages(scored.trials, utt2lang, blind)
        settings["languages"] = "guessed" if blind else "known"
        settings["absent"] = _absent(languages, entries)
        values = normalize_by_language(
            scored, tables.embeddings, entries, languages, tables.mean, cohort.top_n
        )
    else:
        values = normalize(scored, tables.embeddings, entries, tables.mean, method, cohort.top_n)
    inputs = tuple(tables.sources())
    step = Step(step=method, inputs=inputs, settings=settings, remarks=guard.remarks)
    return write_result(out, ScoreTable(scored.trials, values), [*read_lineage(scores).steps, step])


def write_result(out: Path, table: ScoreTable, steps: Sequence[Step]) -> ScoringResult:
    """Write a score file with its provenance."""
    write_with_lineage(out, table, steps)
    return ScoringResult(out, len(table.trials), Lineage(tuple(steps)))


def _absent(languages: LanguageWeights, cohort: Cohort) -> list[str]:
    """Return the languages of the trials that the cohort lacks, and warn of them."""
    absent = sorted(set(languages.languages) - set(cohort.languages))
    if absent:
        names = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
        text = (
            f"{cohort.source}: the cohort lacks {len(absent)} of {len(languages.languages)} "
            f"languages of the trials ({names})"
        )
        if len(absent) == len(languages.languages):
            raise TidyVoiceError(
                f"{text}. Name the languages alike on both sides, or use --blind or --method "
                "asnorm."
            )
        warnings.warn(
            f"{text}; their trials are compared with all languages", TidyVoiceWarning, stacklevel=3
        )
    return absent
