"""Extraction of the embeddings of a data folder into one table.

Several processes can share the batches. Each keeps its finished batches as parts beside the
output, so that an interrupted extraction resumes. The first process merges the parts in the order
of the folder. A batch does not depend on the number of processes or on finished parts, so the table
always has the same bytes.
"""

from contextlib import closing
from pathlib import Path

import numpy as np

from tidyvoice.batch_plan import plan_batches, plan_items
from tidyvoice.distributed import World
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.encoder.embedder import LONGEST
from tidyvoice.errors import TidyVoiceError
from tidyvoice.extraction.memory import Budget
from tidyvoice.extraction.run import Extracted, Extraction, refuse, too_short
from tidyvoice.extraction.source import Source
from tidyvoice.extraction.workers import embed_batches

__all__ = ["LONGEST", "Extracted", "Source", "embed_rows", "extract", "plan_batches"]


def embed_rows(
    encoder: SpeakerEncoder, source: Source, rows: np.ndarray, memory_mib: int | None = None
) -> np.ndarray:
    """Return the embeddings float32 [N x D] of N utterances of a source, each in one piece.

    Args:
        rows: rows of the utterances, int64 [N].
        memory_mib: see ``Budget``.

    Raises:
        TidyVoiceError: an utterance is missing, unreadable, or shorter than one frame.
    """
    rows = np.asarray(rows)
    refuse(source, too_short(encoder, source, rows))
    items = plan_items(rows, source.samples, encoder.frontend, longest=int(source.samples.max()))
    budget = Budget(encoder, memory_mib)
    batches = plan_batches(items.frames, budget.batch_frames)
    vectors: dict[int, np.ndarray] = {}
    with closing(embed_batches(encoder, source, items, batches, budget, strict=True)) as done:
        for batch in done:
            vectors.update(zip(batch.items.tolist(), batch.values, strict=True))
    return np.stack([vectors[item] for item in range(len(items))])


def extract(
    encoder: SpeakerEncoder,
    data: str | Path,
    out: str | Path,
    *,
    memory_mib: int | None = None,
    longest: float = LONGEST,
    limit: int | None = None,
    seed: int = 1,
    strict: bool = False,
    world: World | None = None,
) -> Extracted:
    """Write the embeddings of a data folder's utterances to ``out``, in the folder's order.

    Args:
        memory_mib: see ``Budget``.
        longest: seconds. A longer recording is split into pieces of equal length; its embedding is
            the mean of theirs, weighted by length.
        limit: extract only this many utterances, drawn with ``seed``.
        strict: stop at the first utterance that cannot be read. Without it, such utterances are
            left out and listed with the reason in ``out`` + ".failed.txt".
        world: the processes that share the work, each of which calls this function.

    Raises:
        TidyVoiceError: an utterance cannot be read (``strict``) or none can; another process
            writes ``out``; ``out`` is a folder; see also ``embed_batches``.
    """
    if Path(out).is_dir():
        raise TidyVoiceError(f"{out} is a folder: give the file to write")
    source = Source(data)
    rows = np.arange(len(source.ids))
    if limit is not None and limit < len(rows):
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:limit])
    world = world or World(0, 1, encoder.device)
    return Extraction(encoder, source, rows, Path(out), world, strict, longest).run(memory_mib)
