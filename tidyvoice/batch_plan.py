"""Division of utterances into pieces, and of pieces into batches of equal length.

Nothing is padded, so an embedding does not depend on the other utterances in its batch.
"""

from dataclasses import dataclass

import numpy as np

from tidyvoice.frontends import Frontend


@dataclass(frozen=True)
class Items:
    """M items: utterances, or consecutive pieces of long utterances.

    ``rows`` are the utterances of the items, as rows in the source; ``starts`` are first frames,
    ``frames`` numbers of frames; all int64 [M].
    """

    rows: np.ndarray
    starts: np.ndarray
    frames: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def firsts(self) -> np.ndarray:
        """Return the first item of each utterance, int64 [N]."""
        return np.flatnonzero(self.starts == 0)


def plan_items(rows: np.ndarray, samples: np.ndarray, frontend: Frontend, longest: int) -> Items:
    """Return the items of the utterances ``rows``, each of a frame or more.

    An utterance over ``longest`` frames is cut into as few pieces as possible, whose lengths differ
    by one frame at most. ``samples`` are those of every utterance of the source.
    """
    frames = np.array([frontend.num_frames(int(samples[row])) for row in rows], dtype=np.int64)
    pieces = -(-frames // longest)
    of = np.repeat(np.arange(len(rows)), pieces)
    number = np.arange(len(of)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    starts = frames[of] * number // pieces[of]
    ends = frames[of] * (number + 1) // pieces[of]
    return Items(np.asarray(rows)[of], starts, ends - starts)


def plan_batches(frames: np.ndarray, batch_frames: int) -> list[np.ndarray]:
    """Put items of equal ``frames`` (int64 [M]) into batches (int64 [B] each), the longest first.

    A batch has ``batch_frames`` frames at most; a longer item is a batch of its own.
    """
    order = np.argsort(-frames, kind="stable")
    batches = []
    for group in np.split(order, np.flatnonzero(np.diff(frames[order])) + 1):
        if group.size:
            size = max(batch_frames // max(int(frames[group[0]]), 1), 1)
            batches += [group[i : i + size] for i in range(0, group.size, size)]
    return batches
