"""Cosine scores of many trials, in memory that does not grow with their number."""

import numpy as np

from tidyvoice.embeddings import Embeddings
from tidyvoice.errors import TidyVoiceError
from tidyvoice.scoring.trials import Trials

# Two gathered blocks of 256 columns then fit the cache, which is what the time goes by.
BLOCK = 2048
# A vector that shrinks this much when the mean is subtracted has nothing left but rounding.
VANISHED = 1e-6


def cosine_scores(
    embeddings: Embeddings, trials: Trials, mean: np.ndarray | None = None
) -> np.ndarray:
    """s(e, t) = <e − m, t − m> / (‖e − m‖ ‖t − m‖), float32 [T], in the order of the trials.

    Args:
        embeddings: raw embeddings [N x D] of at least the ids in the trials.
        trials: T trials.
        mean: the embedding m [D] to subtract from both sides; none by default.

    Raises:
        TidyVoiceError: an id without embedding, a mean of another size, an embedding that is not
            finite or that is zero (after the subtraction): a direction it does not have.
    """
    vectors = unit_vectors(embeddings, trials.places_in(embeddings.ids, "embedding"), mean)
    scores = np.empty(len(trials), dtype=np.float32)
    enroll, test = (np.empty((BLOCK, vectors.shape[1]), dtype=np.float32) for _ in range(2))
    for start in range(0, len(trials), BLOCK):
        part = slice(start, start + BLOCK)
        size = len(scores[part])
        # mode="clip" writes into `out` without a copy; the codes are within bounds.
        np.take(vectors, trials.enroll[part], axis=0, out=enroll[:size], mode="clip")
        np.take(vectors, trials.test[part], axis=0, out=test[:size], mode="clip")
        np.einsum("td,td->t", enroll[:size], test[:size], out=scores[part])
    return scores


def unit_vectors(
    embeddings: Embeddings, rows: np.ndarray, mean: np.ndarray | None = None
) -> np.ndarray:
    """The chosen rows, less the mean [D], at unit length: float32 [len(rows) x D].

    Raises:
        TidyVoiceError: see ``cosine_scores``.
    """
    vectors = embeddings.vectors[rows].astype(np.float32, copy=False)
    before = np.linalg.norm(vectors, axis=1)
    if mean is not None:
        if mean.shape != vectors.shape[1:]:
            raise TidyVoiceError(
                f"the mean has shape {mean.shape}, the embeddings have {vectors.shape[1]} columns; "
                "take the mean of embeddings of the same model"
            )
        vectors = vectors - mean.astype(np.float32)
    norms = np.linalg.norm(vectors, axis=1)
    for fault, bad in (
        ("holds NaN or infinity", ~np.isfinite(norms)),
        ("is zero" if mean is None else "equals the mean", norms <= VANISHED * before),
    ):
        if bad.any():
            raise TidyVoiceError(
                f"the embedding of '{embeddings.ids[rows[np.argmax(bad)]]}' {fault}, so it has no "
                f"cosine ({int(bad.sum()):,} such embeddings); look at its audio and extract again"
            )
    return vectors / norms[:, None]
