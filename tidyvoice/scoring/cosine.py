"""Cosine scores of trial lists, computed in an order that suits the processor's cache."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.readahead import usable_cores
from tidyvoice.scoring.embeddings import Embeddings
from tidyvoice.scoring.trials import Trials

# Trials are scored in portions, which bounds the memory for their order.
PORTION = 2**21
# A portion is sorted by the groups of this many utterances to which the two sides belong. Two
# groups of 256 columns fit the cache, which takes half the time of the list's own order.
GROUP = 512
GROUPS = 256  # at most, so that a pair of groups is a 16-bit number, which sorts by radix
BLOCK = 2048
# A vector that shrinks this much when the mean is subtracted is rounding.
VANISHED = 1e-6


def cosine_scores(
    embeddings: Embeddings, trials: Trials, mean: np.ndarray | None = None
) -> np.ndarray:
    """Return s(e, t) = <e − m, t − m> / (‖e − m‖ ‖t − m‖), float32 [T].

    Args:
        embeddings: raw embeddings [N x D] of at least the ids in the trials.
        trials: T trials.
        mean: the embedding m [D] to subtract from both sides; none by default.

    Raises:
        TidyVoiceError: an id without embedding, a mean of another size, an embedding that is not
            finite or that is zero (after the subtraction), so that it has no direction.
    """
    places = trials.places_in(embeddings.ids, "embedding")
    vectors = unit_vectors(embeddings, places, mean, trials)
    scores, threads = np.empty(len(trials), dtype=np.float32), usable_cores()

    def score(portion: np.ndarray) -> None:
        enroll, test = np.empty((2, BLOCK, vectors.shape[1]), dtype=np.float32)
        for start in range(0, len(portion), BLOCK):
            rows = portion[start : start + BLOCK]
            size = len(rows)
            # mode="clip" writes into `out` without a copy; the codes are within bounds.
            np.take(vectors, trials.enroll[rows], axis=0, out=enroll[:size], mode="clip")
            np.take(vectors, trials.test[rows], axis=0, out=test[:size], mode="clip")
            scores[rows] = np.einsum("td,td->t", enroll[:size], test[:size])

    with ThreadPoolExecutor(threads) as pool:
        for order in _portions(trials):
            for _ in pool.map(score, np.array_split(order, threads)):
                pass
    return scores


def _portions(trials: Trials) -> Iterator[np.ndarray]:
    """Yield the numbers of the trials by portions, trials of the same two groups together."""
    size = max(GROUP, -(-len(trials.ids) // GROUPS))
    for start in range(0, len(trials), PORTION):
        part = slice(start, start + PORTION)
        pair = (trials.enroll[part] // size) * GROUPS + trials.test[part] // size
        yield start + np.argsort(pair.astype(np.uint16), kind="stable")


def unit_vectors(
    embeddings: Embeddings,
    rows: np.ndarray,
    mean: np.ndarray | None = None,
    trials: Trials | None = None,
) -> np.ndarray:
    """Subtract the mean [D] from the chosen rows, and scale them to unit length: float32 [R x D].

    Args:
        rows: R places in the embeddings.
        trials: if the rows belong to its ids, an error names the line as well.
    """
    vectors = embeddings.vectors[rows].astype(np.float32, copy=False)
    before = np.linalg.norm(vectors, axis=1)
    if mean is not None:
        if mean.shape != vectors.shape[1:]:
            raise TidyVoiceError(
                f"the mean has shape {mean.shape}, the embeddings have {vectors.shape[1]} columns. "
                "Take the mean of embeddings of the same model."
            )
        vectors = vectors - mean.astype(np.float32)
    norms = np.linalg.norm(vectors, axis=1)
    for fault, bad in (
        ("holds NaN or infinity", ~np.isfinite(norms)),
        ("is zero" if mean is None else "equals the mean", norms <= VANISHED * before),
    ):
        if bad.any():
            first = int(np.argmax(bad))
            where = ""
            if trials:
                chosen = np.arange(len(bad)) == first
                where = f"{trials.source}:{trials.first_use(chosen)[0]}: "
            raise TidyVoiceError(
                f"{where}the embedding of '{embeddings.ids[rows[first]]}' {fault}, so it has no "
                f"cosine ({int(bad.sum()):,} such embeddings). Check its audio, and extract again."
            )
    return vectors / norms[:, None]
