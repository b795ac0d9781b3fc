"""Scores of trial lists: each of a pair of voices."""

import numpy as np

from tidyvoice.readahead import in_blocks
from tidyvoice.scoring.backend import Backend, Voices
from tidyvoice.scoring.embeddings import Embeddings
from tidyvoice.scoring.trials import Trials

# Trials at once: what is gathered for them fits the cache.
BLOCK = 2048


def trial_scores(embeddings: Embeddings, trials: Trials, backend: Backend) -> np.ndarray:
    """Return the score of each trial by a back end [T], see ``pair_scores``."""
    return pair_scores(voices_of(embeddings, trials, backend), trials)


def voices_of(embeddings: Embeddings, trials: Trials, backend: Backend) -> Voices:
    """Prepare the embeddings of a list's ids."""
    rows = trials.places_in(embeddings.ids, "embedding")
    return backend.voices(embeddings, rows, trials.source)


def pair_scores(voices: Voices, trials: Trials) -> np.ndarray:
    """Return the score of each trial [T]: float32, or float64 if the voices have biases or PLDA."""
    vectors, biases = voices.vectors, voices.biases
    biased = biases.any()
    scores = np.empty(len(trials), biases.dtype if biased else vectors.dtype)

    def work(part: slice) -> None:
        left, right = trials.enroll[part], trials.test[part]
        scores[part] = np.einsum("td,td->t", vectors[left], vectors[right])
        if biased:
            scores[part] += biases[left] + biases[right]

    in_blocks(work, len(trials), BLOCK)
    return scores
