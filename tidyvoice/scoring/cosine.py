"""Cosine scores of trial lists."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.readahead import usable_cores
from tidyvoice.scoring.columns import more
from tidyvoice.scoring.embeddings import Embeddings
from tidyvoice.scoring.trials import Trials

# Trials at once: what is gathered for them fits the cache.
BLOCK = 2048
# A vector that shrinks this much when the mean is subtracted is rounding.
VANISHED = 1e-6


def cosine_scores(
    embeddings: Embeddings, trials: Trials, mean: np.ndarray | None = None
) -> np.ndarray:
    """Return s(e, t) = <e − m, t − m> / (‖e − m‖ ‖t − m‖), float32 [T], of raw embeddings [N x D].

    ``mean`` is m [D]; none by default.
    """
    vectors = unit_vectors(embeddings, trials.places_in(embeddings.ids, "embedding"), mean)
    return pairwise_products(vectors, trials)


def pairwise_products(vectors: np.ndarray, trials: Trials) -> np.ndarray:
    """Return the scalar products of both sides' vectors [U x D], float32 [T]."""
    products = np.empty(len(trials), dtype=np.float32)

    def work(part: slice) -> None:
        enroll, test = vectors[trials.enroll[part]], vectors[trials.test[part]]
        products[part] = np.einsum("td,td->t", enroll, test)

    in_blocks(work, len(trials), BLOCK)
    return products


def unit_vectors(
    embeddings: Embeddings, rows: np.ndarray, mean: np.ndarray | None = None
) -> np.ndarray:
    """Subtract the mean [D] from R chosen rows, and scale them to unit length: float32 [R x D]."""
    vectors = embeddings.vectors[rows].astype(np.float32, copy=False)
    before = np.linalg.norm(vectors, axis=1)
    if mean is not None:
        vectors = vectors - mean.astype(np.float32)
    norms = np.linalg.norm(vectors, axis=1)
    bad = ~(norms > VANISHED * before) | np.isinf(norms)
    if bad.any():
        which = f"the embedding of '{embeddings.ids[rows[np.argmax(bad)]]}'{more(bad.sum() - 1)}"
        raise TidyVoiceError(f"{which} is zero, not finite or the mean itself: check the audio")
    return vectors / norms[:, None]


def in_blocks(work: Callable[[slice], None], total: int, size: int) -> None:
    """Call ``work`` on slices of ``size`` up to ``total``, in threads: numpy releases the GIL."""
    parts = (slice(start, min(start + size, total)) for start in range(0, total, size))
    with ThreadPoolExecutor(usable_cores()) as pool:
        for _ in pool.map(work, parts):
            pass
