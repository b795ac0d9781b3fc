"""Cosine scores of many trials, at the speed of the cache rather than of the memory."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tidyvoice.embeddings import Embeddings
from tidyvoice.errors import TidyVoiceError
from tidyvoice.readahead import usable_cores
from tidyvoice.scoring.trials import TrialList, Trials

# Trials are scored in portions, so that what is needed beside the scores does not grow with them.
PORTION = 2**21
# Within a portion those come together whose sides lie in the same two groups of this many
# utterances, and two groups of 256 columns fit the cache: half the time of the list's own order.
GROUP = 512
GROUPS = 256  # at most, so that a pair of groups is a 16-bit number, which sorts by radix
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
    return Cosine(embeddings, trials, mean)(trials)


class Cosine:
    """Scores parts of a list; see ``cosine_scores``."""

    def __init__(self, embeddings: Embeddings, trials: TrialList, mean: np.ndarray | None = None):
        places = trials.places_in(embeddings.ids, "embedding")
        self._vectors = unit_vectors(embeddings, places, mean, trials)

    def __call__(self, trials: Trials) -> np.ndarray:
        """The scores of a part of the list, float32 [T]."""
        scores, threads = np.empty(len(trials), dtype=np.float32), usable_cores()
        with ThreadPoolExecutor(threads) as pool:
            for order in _portions(trials):
                shares = np.array_split(order, threads)
                for _ in pool.map(lambda rows: self._score(trials, rows, scores), shares):
                    pass
        return scores

    def _score(self, trials: Trials, portion: np.ndarray, scores: np.ndarray) -> None:
        vectors = self._vectors
        enroll, test = np.empty((2, BLOCK, vectors.shape[1]), dtype=np.float32)
        for start in range(0, len(portion), BLOCK):
            rows = portion[start : start + BLOCK]
            size = len(rows)
            # mode="clip" writes into `out` without a copy; the codes are within bounds.
            np.take(vectors, trials.enroll[rows], axis=0, out=enroll[:size], mode="clip")
            np.take(vectors, trials.test[rows], axis=0, out=test[:size], mode="clip")
            scores[rows] = np.einsum("td,td->t", enroll[:size], test[:size])


def _portions(trials: Trials) -> Iterator[np.ndarray]:
    """The numbers of the trials, a portion at a time, those of the same two groups together."""
    size = max(GROUP, -(-len(trials.ids) // GROUPS))
    for start in range(0, len(trials), PORTION):
        part = slice(start, start + PORTION)
        pair = (trials.enroll[part] // size) * GROUPS + trials.test[part] // size
        yield start + np.argsort(pair.astype(np.uint16), kind="stable")


def unit_vectors(
    embeddings: Embeddings,
    rows: np.ndarray,
    mean: np.ndarray | None = None,
    trials: TrialList | None = None,
) -> np.ndarray:
    """The chosen rows, less the mean [D], at unit length: float32 [len(rows) x D].

    Args:
        rows: places in the embeddings.
        trials: where the rows are those of its ids, an error names the line as well.

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
            first = int(np.argmax(bad))
            where = ""
            if trials:
                chosen = np.arange(len(bad)) == first
                where = f"{trials.source}:{trials.first_of(chosen)[0]}: "
            raise TidyVoiceError(
                f"{where}the embedding of '{embeddings.ids[rows[first]]}' {fault}, so it has no "
                f"cosine ({int(bad.sum()):,} such embeddings); look at its audio and extract again"
            )
    return vectors / norms[:, None]
