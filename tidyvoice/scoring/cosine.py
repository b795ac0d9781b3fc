"""Scores of trial lists: each of a pair of voices."""

import numpy as np

from tidyvoice.readahead import in_blocks
from tidyvoice.scoring.backend import Backend, Voices
from tidyvoice.scoring.embeddings import Embeddings
from tidyvoice.scoring.trials import Trials

# Trials at once: what is gathered for them fits the cache.
BLOCK = 2048


def cosine_scores(
    embeddings: Embeddings, trials: Trials, mean: np.ndarray | None = None
) -> np.ndarray:
    """Return s(e, t) = <e − m, t − m> / (‖e − m‖ ‖t − m‖), float32 [T], of raw embeddings [N x D].

    ``mean`` is m [D]; none by default.
    """
    return pair_scores(voices_of(embeddings, trials, Backend(mean=mean)), trials)


def voices_of(embeddings: Embeddings, trials: Trials, backend: Backend) -> Voices:
    """Prepare the embeddings of a list's ids."""
    rows = trials.places_in(embeddings.ids, "embedding")
    return backend.voices(embeddings, rows, trials.source)


def pair_scores(voices: Voices, trials: Trials) -> np.ndarray:
    """Return the score of each trial [T]: float32, or float64 if the voices have biases or PLDA."""
    return pairwise_products(voices.vectors, trials, voices.biases if voices.biases.any() else None)


def pairwise_products(
    vectors: np.ndarray, trials: Trials, biases: np.ndarray | None = None
) -> np.ndarray:
    """Return the scalar products of both sides' vectors [U x D], plus their biases [U]: [T]."""
    kind = vectors.dtype if biases is None else biases.dtype
    products = np.empty(len(trials), dtype=kind)

    def work(part: slice) -> None:
        left, right = trials.enroll[part], trials.test[part]
        products[part] = np.einsum("td,td->t", vectors[left], vectors[right])
        if biases is not None:
            products[part] += biases[left] + biases[right]

    in_blocks(work, len(trials), BLOCK)
    return products
