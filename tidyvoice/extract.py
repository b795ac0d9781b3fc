"""Extraction: the utterances of a data folder to a table of embeddings.

Utterances are batched only with others of the same number of frames: nothing is padded, so that an
embedding does not depend on what else is in its batch.
"""

from collections.abc import Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tidyvoice.audio import read_pcm16
from tidyvoice.data.shards import ShardReader
from tidyvoice.embeddings import save_embeddings
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.frontend import FrontendSettings
from tidyvoice.headers import SAMPLE_RATE
from tidyvoice.manifest import Manifest
from tidyvoice.readahead import read_ahead

READING_THREADS = 4


class Source:
    """Utterances of a data folder, from its ``wav.scp`` or else from its shards.

    Attributes:
        data: the folder.
        ids: utterance ids.
        samples: number of samples of each, int64 [N], by which batches are planned.
    """

    def __init__(self, data: str | Path):
        if not Path(data).is_dir():
            raise TidyVoiceError(f"{data} is no folder: give a data folder")
        self.data = Path(data)
        self._shards = None
        # Without durations, as of what only a decoder can read, shards know the lengths.
        if all((Path(data) / name).exists() for name in ("wav.scp", "utt2dur")):
            table = Manifest.read(data).table
            self.ids: list[str] = table["utterance"].to_list()
            self._paths: list[str] = table["path"].to_list()
            self.samples = np.rint(table["seconds"].to_numpy() * SAMPLE_RATE).astype(np.int64)
        else:
            self._shards = ShardReader(data)
            self.ids = self._shards.keys.to_list()
            self.samples = self._shards.samples

    def read(self, row: int) -> np.ndarray:
        """Samples int16 [S] of utterance ``row``."""
        if self._shards is not None:
            return self._shards.read(row)
        samples = read_pcm16(self._paths[row])
        if samples.size != self.samples[row]:
            raise TidyVoiceError(
                f"{self._paths[row]} has {samples.size} samples, its utt2dur says "
                f"{self.samples[row]}: prepare the data again"
            )
        return samples


def plan_batches(
    rows: Sequence[int], samples: np.ndarray, settings: FrontendSettings, batch_frames: int
) -> list[list[int]]:
    """Batches of utterances with equal frame count, of at most ``batch_frames`` frames each."""
    frames = {row: settings.num_frames(int(samples[row])) for row in rows}
    batches = []
    for count, group in groupby(sorted(rows, key=lambda row: (frames[row], row)), frames.get):
        members = list(group)
        size = max(batch_frames // max(count, 1), 1)
        batches += [members[i : i + size] for i in range(0, len(members), size)]
    return batches


def embed_rows(
    encoder: SpeakerEncoder,
    source: Source,
    rows: Sequence[int],
    batch_frames: int = 8000,
    name: str | None = None,
) -> np.ndarray:
    """Embeddings float32 [N x D] of N utterances of a source, in the order given.

    Args:
        batch_frames: bounds the memory: frames of one batch.
        name: of a progress bar; none is shown without.

    Raises:
        TidyVoiceError: an utterance is missing, unreadable, or shorter than one frame; it is named.
    """
    settings = encoder.settings
    short = [row for row in rows if settings.num_frames(int(source.samples[row])) == 0]
    if short:
        raise TidyVoiceError(
            f"{source.ids[short[0]]} has {source.samples[short[0]]} samples, less than one frame "
            f"({len(short)} such utterances): leave them out of {source.data}"
        )

    def load(batch: list[int]) -> np.ndarray:
        count = settings.num_frames(int(source.samples[batch[0]]))
        return np.stack([source.read(row)[: settings.num_samples(count)] for row in batch])

    batches = plan_batches([int(row) for row in rows], source.samples, settings, batch_frames)
    vectors: dict[int, np.ndarray] = {}
    hidden = True if name is None else None
    with (
        tqdm(total=len(rows), desc=name, unit=" utt", disable=hidden) as bar,
        closing(read_ahead(load, batches, READING_THREADS)) as loaded,
    ):
        for batch, samples in zip(batches, loaded, strict=True):
            vectors.update(zip(batch, encoder.embed_samples(samples), strict=True))
            bar.update(len(batch))
    return np.stack([vectors[row] for row in rows])


def extract(
    encoder: SpeakerEncoder,
    data: str | Path,
    out: str | Path,
    batch_frames: int = 8000,
    limit: int | None = None,
    seed: int = 1,
) -> int:
    """Write the embeddings of a data folder's utterances to ``out``, in the folder's order.

    Args:
        batch_frames: see ``embed_rows``.
        limit: of a larger folder take this many utterances, drawn by ``seed``.

    Returns:
        The number of utterances.

    Raises:
        TidyVoiceError: see ``embed_rows``.
    """
    source = Source(data)
    rows = np.arange(len(source.ids))
    if limit is not None and limit < len(rows):
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:limit])
    matrix = embed_rows(encoder, source, rows, batch_frames, str(data))
    ids = [source.ids[row] for row in rows]
    save_embeddings(out, ids, matrix, encoder.trained_on, encoder.weights)
    return len(rows)
