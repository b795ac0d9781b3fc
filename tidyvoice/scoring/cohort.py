"""Cohorts: the speakers with which score normalisation compares trials."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.scoring.cosine import unit_vectors
from tidyvoice.scoring.embeddings import Embeddings
from tidyvoice.scoring.groups import languages_of, speakers_of
from tidyvoice.scoring.trials import Trials


@dataclass(frozen=True)
class Cohort:
    """C entries to compare trials with: speakers, or pairs of a speaker and a language.

    Attributes:
        vectors: float32 [C x D], centred, at unit length.
        speakers, languages: C names; None where an entry holds all languages of its speaker.
        source: where it came from, for error messages.
    """

    vectors: np.ndarray
    speakers: list[str]
    languages: list[str] | None
    source: str = "cohort"

    def __len__(self) -> int:
        return len(self.vectors)


def speaker_cohort(
    embeddings: Embeddings,
    utt2spk: Mapping[str, str],
    mean: np.ndarray | None = None,
    utt2lang: Mapping[str, str] | None = None,
    source: str = "cohort",
) -> Cohort:
    """Return each speaker's mean raw embedding, less ``mean`` [D], at unit length, by name.

    With ``utt2lang``, every pair of a speaker and a language is an entry of its own.
    """
    listed = every_id(embeddings, source)
    speakers, languages = speakers_of(listed, utt2spk), None
    entry = speakers.codes
    if utt2lang is not None:
        languages = languages_of(listed, utt2lang)
        entry = entry * len(languages.names) + languages.codes
    keys, sizes = np.unique(entry, return_counts=True)
    if len(keys) < 2:
        name, fix = speakers.names[0], "Give embeddings of some hundred speakers."
        raise TidyVoiceError(f"{source}: speaker '{name}' alone is no cohort. {fix}")
    ordered = embeddings.vectors[np.argsort(entry, kind="stable")]
    sums = np.add.reduceat(ordered, np.cumsum(sizes) - sizes, dtype=np.float64)
    places, entry_languages = keys, None
    if languages is not None:
        places, codes = np.divmod(keys, len(languages.names))
        entry_languages = [languages.names[code] for code in codes]
    names = [speakers.names[place] for place in places]
    means = Embeddings(names, (sums / sizes[:, None]).astype(np.float32))
    vectors = unit_vectors(means, np.arange(len(keys)), mean)
    return Cohort(vectors, names, entry_languages, source)


def every_id(embeddings: Embeddings, source: str) -> Trials:
    """Return a list that has each id once, in order, so that errors name the row."""
    rows = np.arange(len(embeddings.ids), dtype=np.int32)
    return Trials(embeddings.ids, rows, rows, None, source)
