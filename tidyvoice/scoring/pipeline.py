"""Score and normalise from files to a score file, with leak guard and provenance."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
from tidyvoice.model_files import OTHERS
from tidyvoice.scoring.cohort import Cohort, every_id, speaker_cohort
from tidyvoice.scoring.cosine import cosine_scores
from tidyvoice.scoring.embeddings import Embeddings, load_embeddings, same_model
from tidyvoice.scoring.groups import languages_of, read_maps
from tidyvoice.scoring.language_norm import (
    LanguageWeights,
    known_languages,
    language_posteriors,
    normalize_by_language,
)
from tidyvoice.scoring.leaks import LeakGuard, People
from tidyvoice.scoring.lineage import (
    UNKNOWN,
    Lineage,
    Step,
    checksum,
    read_lineage,
    refuse_to_lose,
    with_checksum,
    write_with_lineage,
)
from tidyvoice.scoring.normalization import METHODS, normalize
from tidyvoice.scoring.trials import ScoreTable, Trials, read_scores, read_trials

BY_LANGUAGE = "language"


@dataclass(frozen=True)
class Made:
    """A new score file: its number of trials, and its provenance."""

    out: Path
    trials: int
    lineage: Lineage


@dataclass(frozen=True)
class CohortFiles:
    """A cohort on disk.

    Attributes:
        embeddings: table of its utterances' raw embeddings.
        utt2spk: their speakers.
        utt2lang: their languages; None takes them from the ids.
        top_n: number of highest cohort scores that count.
    """

    embeddings: Path
    utt2spk: Path
    utt2lang: Path | None = None
    top_n: int = 300

    def load(self) -> tuple[Embeddings, dict[str, str]]:
        """Read the embeddings and the speaker of each."""
        return load_embeddings(self.embeddings), read_maps([self.utt2spk], "speaker")

    def languages(self, embeddings: Embeddings) -> dict[str, str]:
        """Find the language of each utterance.

        Raises:
            TidyVoiceError: there is no file, and the ids do not contain languages.
        """
        known = read_maps([self.utt2lang] if self.utt2lang else [], "language")
        found = languages_of(every_id(embeddings, str(self.embeddings)), known)
        if found is None:
            raise TidyVoiceError(
                f"{self.embeddings}: its ids tell no language; give --cohort-utt2lang"
            )
        names = (found.names[code] for code in found.codes)
        return dict(zip(embeddings.ids, names, strict=True))

    def people(self, embeddings: Embeddings, speakers: Mapping[str, str]) -> People:
        """Return its speakers for the leak guard."""
        listed = every_id(embeddings, str(self.embeddings))
        return People.of(f"the cohort {self.embeddings}", listed, speakers)

    def files(self) -> dict[str, Path]:
        """Return the files by role."""
        files = {"cohort": self.embeddings, "cohort utt2spk": self.utt2spk}
        if self.utt2lang is not None:
            files["cohort utt2lang"] = self.utt2lang
        return files

    def inputs(self) -> dict[str, str]:
        """Return the files with checksums, for the provenance."""
        return {role: with_checksum(path) for role, path in self.files().items()}


def score_list(
    embeddings: Path,
    trials: Path,
    out: Path,
    mean: Path | None = None,
    utt2spk: Sequence[Path] = (),
    in_sample: bool = False,
) -> Made:
    """Write the cosine scores of a trial list.

    Args:
        mean: embeddings whose mean is subtracted first.
        utt2spk: speakers of the list's ids, for the leak guard; by default from the ids.
        in_sample: allow overlaps of speakers, and record them in the provenance.

    Raises:
        TidyVoiceError: a faulty file, speakers of the list in the training of the model or in the
            mean; see ``cosine_scores``.
    """
    refuse_to_lose(out, [embeddings, trials, *([mean] if mean else []), *utt2spk])
    centre, table = load_embeddings(mean) if mean else None, load_embeddings(embeddings)
    if centre:
        same_model({str(embeddings): table, str(mean): centre})
    guard, speakers = LeakGuard(in_sample), read_maps(utt2spk, "speaker")
    listed = read_trials(trials)
    evaluated = People.of(f"the trials of {trials}", listed, speakers)
    check_learnt(guard, evaluated, {str(embeddings): table}, mean, centre)
    text, inputs = "cosine of the embeddings, not centred", {}
    inputs["embeddings"] = with_checksum(embeddings)
    if centre:
        text = f"cosine of the embeddings less the mean of {len(centre.ids):,} in {mean}"
        inputs["mean"] = with_checksum(mean)
    inputs["trials"] = str(trials)
    how = {"mean": checksum(mean) if mean else "none", "model": table.model or UNKNOWN}
    step = Step("cosine", text, inputs, tuple(guard.in_sample), tuple(guard.unchecked), how)
    scores = cosine_scores(table, listed, centre.mean() if centre else None)
    return write_made(out, ScoreTable(listed, scores), [step])


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
    in_sample: bool = False,
) -> Made:
    """Write normalised scores of a file of cosine scores.

    Args:
        method: "asnorm", "snorm" or "language".
        utt2lang: languages of the evaluated utterances, for "language"; by default from the ids.
        blind: guess the languages of the evaluated utterances instead.

    Raises:
        TidyVoiceError: a faulty file, speakers of the list in the training of the model, in the
            mean or in the cohort, languages that are not known; see ``normalize`` and
            ``normalize_by_language``.
    """
    if method not in (*METHODS, BY_LANGUAGE):
        raise TidyVoiceError(
            f"no method '{method}'; use one of {', '.join((*METHODS, BY_LANGUAGE))}"
        )
    read = [scores, embeddings, *cohort.files().values(), *([mean] if mean else [])]
    refuse_to_lose(out, [*read, *utt2lang, *utt2spk])
    own, (members, speakers) = load_embeddings(embeddings), cohort.load()
    tables = {str(embeddings): own, str(cohort.embeddings): members}
    if mean:
        tables[str(mean)] = load_embeddings(mean)
    same_model(tables)
    centre = tables[str(mean)].mean() if mean else None
    guard, named = LeakGuard(in_sample), read_maps(utt2spk, "speaker")
    where = str(cohort.embeddings)
    spoken = cohort.languages(members) if method == BY_LANGUAGE else None
    entries = speaker_cohort(members, speakers, centre, spoken, where)
    scored = read_scores(scores)
    evaluated = People.of(f"the trials of {scores}", scored.trials, named)
    check_learnt(guard, evaluated, {str(embeddings): own}, mean, tables.get(str(mean)))
    guard.disjoint(evaluated, cohort.people(members, speakers))
    text = f"{len(set(entries.speakers)):,} speakers of {where}"
    inputs = {"embeddings": with_checksum(embeddings), **cohort.inputs()}
    if mean:
        inputs["mean"] = with_checksum(mean)
    how = {"cohort": checksum(cohort.embeddings)}
    if method != "snorm":
        how["top_n"] = str(cohort.top_n)
    if method == BY_LANGUAGE:
        languages = trial_languages(scored.trials, own, members, spoken, centre, utt2lang, blind)
        how["languages"] = "guessed" if blind else "known"
        text = (
            f"language-aware S-norm, {text}, top {cohort.top_n} in proportion, languages "
            f"{how['languages']}{_absent(languages, entries)}"
        )
        values = normalize_by_language(scored, own, entries, languages, centre, cohort.top_n)
    else:
        top = "all" if method == "snorm" else f"top {cohort.top_n}"
        text = f"{'S' if method == 'snorm' else 'AS'}-norm, {text}, {top}"
        values = normalize(scored, own, entries, centre, method, cohort.top_n)
    step = Step(method, text, inputs, tuple(guard.in_sample), tuple(guard.unchecked), how)
    return write_made(out, ScoreTable(scored.trials, values), [*read_lineage(scores).steps, step])


def write_made(out: Path, table: ScoreTable, steps: Sequence[Step]) -> Made:
    """Write a score file with its provenance."""
    write_with_lineage(out, table, steps)
    return Made(out, len(table.trials), Lineage(tuple(steps)))


def trial_languages(
    trials: Trials,
    embeddings: Embeddings,
    cohort: Embeddings,
    cohort_languages: Mapping[str, str],
    mean: np.ndarray | None,
    utt2lang: Sequence[Path],
    blind: bool,
) -> LanguageWeights:
    """Find the languages of a list's utterances, or guess them from those of a cohort.

    Raises:
        TidyVoiceError: not ``blind``, no file, and the ids do not contain languages.
    """
    if blind:
        return language_posteriors(trials, embeddings, cohort, cohort_languages, mean)
    languages = languages_of(trials, read_maps(utt2lang, "language"))
    if languages is None:
        raise TidyVoiceError(
            f"{trials.source}: its ids tell no language; give --utt2lang, or --blind to guess them"
        )
    return known_languages(languages)


def check_learnt(
    guard: LeakGuard,
    people: People,
    embeddings: Mapping[str, Embeddings],
    mean: Path | None,
    subtracted: Embeddings | None,
) -> None:
    """Check that neither the model's training nor the mean contains the speakers of a list.

    Args:
        embeddings: tables of one model, by path.
        subtracted: the embeddings of ``mean``.

    Raises:
        TidyVoiceError: see ``LeakGuard.disjoint``.
    """
    if embeddings:
        known = [table.trained_on for table in embeddings.values()]
        trained = None
        if any(speakers is not None for speakers in known):
            # A table that does not say may come from a model that was trained on others.
            trained = {name for names in known for name in ([OTHERS] if names is None else names)}
        what = f"the training of the model of {', '.join(embeddings)}"
        guard.disjoint(people, People.named(what, trained))
    if subtracted:
        listed = every_id(subtracted, str(mean))
        guard.disjoint(people, People.of(f"the mean of {mean}", listed))


def _absent(languages: LanguageWeights, cohort: Cohort) -> str:
    """Say which languages of the trials the cohort lacks, and warn of them.

    Raises:
        TidyVoiceError: it lacks all of them.
    """
    absent = sorted(set(languages.languages) - set(cohort.languages))
    if not absent:
        return ""
    names = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
    said = f"{len(absent)} of {len(languages.languages)} languages not in the cohort ({names})"
    if len(absent) == len(languages.languages):
        raise TidyVoiceError(
            f"{cohort.source}: {said}; name the languages alike on both sides, or use --blind or "
            "--method asnorm"
        )
    warnings.warn(
        f"{cohort.source}: {said}: they are measured against all languages",
        TidyVoiceWarning,
        stacklevel=3,
    )
    return f"; {said}"
