"""Extraction: the utterances of a data folder to a table of embeddings.

Any number of processes share the batches. What each has done it keeps beside the output, so that an
extraction that was stopped goes on; the first one merges all in the folder's order. A batch is the
same however many processes there are and whatever was done before, so that the table has the same
bytes.
"""

from contextlib import closing
from pathlib import Path

import numpy as np

from tidyvoice.batch_plan import plan_batches, plan_items
from tidyvoice.distributed import World
from tidyvoice.embedder import LONGEST
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.extraction.memory import Budget
from tidyvoice.extraction.run import Extracted, Extraction, refuse, too_short
from tidyvoice.extraction.source import Source
from tidyvoice.extraction.workers import embed_batches

__all__ = ["LONGEST", "Extracted", "Source", "embed_rows", "extract", "plan_batches"]


def embed_rows(
    encoder: SpeakerEncoder, source: Source, rows: np.ndarray, memory_mib: int | None = None
) -> np.ndarray:
    """Embeddings float32 [N x D] of N utterances of a source, whole, in the order given.

    Args:
        rows: int64 [N].
        memory_mib: see ``Budget``.

    Raises:
        TidyVoiceError: an utterance is missing, unreadable, or shorter than one frame; it is named.
    """
    rows = np.asarray(rows)
    refuse(source, too_short(encoder, source, rows))
    items = plan_items(rows, source.samples, encoder.settings, longest=int(source.samples.max()))
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
        longest: seconds; a longer recording is read in pieces of equal length, and embedded as the
            mean of their embeddings, weighted by their lengths.
        limit: of a larger folder take this many utterances, drawn by ``seed``.
        strict: stop at the first utterance that cannot be read. Else they are reported and listed
            in ``out`` with ``.failed.txt``, each with the reason, and left out.
        world: the processes that share the work; each calls this. Without it there is one.

    Raises:
        TidyVoiceError: an utterance cannot be read and ``strict`` is set; none can be read; another
            process is writing ``out``, or that is a folder; see also ``embed_batches``.
    """
    if Path(out).is_dir():
        raise TidyVoiceError(f"{out} is a folder: give the file to write")
    source = Source(data)
    rows = np.arange(len(source.ids))
    if limit is not None and limit < len(rows):
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:limit])
    world = world or World(0, 1, encoder.device)
    return Extraction(encoder, source, rows, Path(out), world, strict, longest).run(memory_mib)
