"""Cohorts: the speakers with which S-norm and AS-norm compare trials."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tidyvoice.scoring.backend import Backend
from tidyvoice.scoring.embeddings import Embeddings
from tidyvoice.scoring.fitting import speaker_sums
from tidyvoice.scoring.groups import speakers_of
from tidyvoice.scoring.trials import Trials


@dataclass(frozen=True)
class Cohort:
    """C speakers to compare trials with.

    Attributes:
        vectors: float32 [C x D], centred, at unit length.
        speakers: C names.
        source: where it came from, for error messages.
    """

    vectors: np.ndarray
    speakers: list[str]
    source: str = "cohort"

    def __len__(self) -> int:
        return len(self.vectors)


def speaker_cohort(
    embeddings: Embeddings,
    utt2spk: Mapping[str, str],
    mean: np.ndarray | None = None,
    source: str = "cohort",
) -> Cohort:
    """Return each speaker's mean raw embedding, less ``mean`` [D], at unit length, by name."""
    speakers = speakers_of(every_id(embeddings, source), utt2spk)
    sums, counts = speaker_sums(embeddings.vectors, speakers, source)
    means = Embeddings(speakers.names, (sums / counts[:, None]).astype(np.float32))
    voices = Backend(mean=mean).voices(means, np.arange(len(counts)))
    return Cohort(voices.vectors, speakers.names, source)


def every_id(embeddings: Embeddings, source: str) -> Trials:
    """Return a list that has each id once, in order, so that errors name the row."""
    rows = np.arange(len(embeddings.ids), dtype=np.int32)
    return Trials(embeddings.ids, rows, rows, None, source)
