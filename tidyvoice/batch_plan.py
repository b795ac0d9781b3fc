"""What is embedded at once: utterances, and pieces of long ones, in batches of equal length.

Nothing is padded, so that an embedding does not depend on what else is in its batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tidyvoice.frontends import Frontend


@dataclass(frozen=True)
class Items:
    """M utterances and pieces of utterances; the pieces of one follow one another.

    Attributes:
        rows: the utterance of each, as its row in the source, int64 [M].
        starts: first frame of each, int64 [M].
        frames: number of frames of each, int64 [M].
        whole: whether it is an utterance and no piece of one, bool [M].
    """

    rows: np.ndarray
    starts: np.ndarray
    frames: np.ndarray
    whole: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def firsts(self) -> np.ndarray:
        """The first item of each utterance, int64 [N]."""
        return np.flatnonzero(self.starts == 0)


def plan_items(rows: np.ndarray, samples: np.ndarray, frontend: Frontend, longest: int) -> Items:
    """The items of utterances that are at least one frame long.

    Args:
        rows: which utterances, int64 [N].
        samples: samples of every utterance of the source.
        longest: an utterance of more frames is cut into as few pieces as hold so many each, whose
            lengths differ by one frame at most.
    """
    frames = np.array([frontend.num_frames(int(samples[row])) for row in rows], dtype=np.int64)
    pieces = -(-frames // longest)
    of = np.repeat(np.arange(len(rows)), pieces)
    number = np.arange(len(of)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    starts = frames[of] * number // pieces[of]
    ends = frames[of] * (number + 1) // pieces[of]
    return Items(np.asarray(rows)[of], starts, ends - starts, pieces[of] == 1)


def plan_batches(frames: Sequence[int] | np.ndarray, batch_frames: int) -> list[np.ndarray]:
    """Batches of items with the same number of frames, the longest ones first.

    Args:
        frames: of each item [M].
        batch_frames: frames of a batch at most; a longer item is a batch of its own.

    Returns:
        For each batch its items, int64 [B]; a function of the arguments alone.
    """
    frames = np.asarray(frames)
    order = np.argsort(-frames, kind="stable")
    batches = []
    for group in np.split(order, np.flatnonzero(np.diff(frames[order])) + 1):
        if group.size:
            size = max(batch_frames // max(int(frames[group[0]]), 1), 1)
            batches += [group[i : i + size] for i in range(0, group.size, size)]
    return batches
