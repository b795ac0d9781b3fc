"""Extraction of the embeddings of a data folder into one table.

Several processes can share the batches. Each keeps its finished batches as parts beside the
output, so that an interrupted extraction resumes; the first process merges them. A batch does not
depend on the number of processes or on finished parts, so the table always has the same bytes.
"""

import hashlib
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import RootModel
from tqdm import tqdm

from tidyvoice.arrays import read_arrays, write_arrays
from tidyvoice.batch_plan import Items, plan_batches, plan_items
from tidyvoice.distributed import World
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.encoder.embedder import LONGEST
from tidyvoice.errors import TidyVoiceError, reading, summarise
from tidyvoice.extraction.workers import MEMORY, AudioFolder, Batch, batch_frames, embed_batches
from tidyvoice.files import only_writer, source_hash, write_text
from tidyvoice.headers import SAMPLE_RATE
from tidyvoice.scoring.embeddings import save_embeddings
from tidyvoice.settings import read_json

# A part is written when it holds a tenth of the time so far, between these limits in seconds.
SHARE, SHORTEST, LONGEST_PART = 0.1, 1.0, 30.0


@dataclass(frozen=True)
class Extracted:
    """Numbers of utterances: in the table, of these from an interrupted run, and unreadable."""

    utterances: int
    resumed: int
    failed: int
    failures: Path | None  # the file that lists the unreadable ones


class Plan(RootModel[dict[str, str]]):
    """Everything that the embeddings of an extraction depend on, by name."""


class Parts:
    """Folder ``out`` + ".parts" of items with their embeddings, and of their plan."""

    def __init__(self, out: Path):
        self.folder = out.with_name(out.name + ".parts")

    def begin(self, plan: Plan) -> int:
        """Keep the parts of the same plan, delete others, and return a number above theirs."""
        path, files = self.folder / "plan.json", self._files()
        older = read_json(Plan, path, f"delete {self.folder}") if path.exists() else None
        before = older.root if older else {}
        others = [name for name, value in plan.root.items() if before.get(name) != value]
        if others and files:
            message = f"{self.folder} has parts for another {', '.join(others)}: deleted"
            print(message, file=sys.stderr, flush=True)
            for file in files:
                file.unlink()
        write_text(path, plan.model_dump_json(indent=1) + "\n")
        return max((int(file.name.split("-")[0]) for file in self._files()), default=-1) + 1

    def write(self, number: int, rank: int, items: np.ndarray, vectors: np.ndarray) -> None:
        """Write part ``number`` of a process: the embeddings float32 [K x D] of items int64 [K]."""
        write_arrays(self.folder / f"{number:06d}-{rank:04d}.npz", items=items, vectors=vectors)

    def collect(self, count: int, dimension: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the embeddings float32 [count x D], and which are there, bool [count]."""
        matrix, mask = np.zeros((count, dimension), np.float32), np.zeros(count, dtype=bool)
        content, fix = "part of this extraction", "delete it, and run again"
        for path in self._files():
            part = read_arrays(path, {"items": "i", "vectors": "f"}, content, fix)
            items, vectors = part["items"], part["vectors"]
            with reading(path, content, fix):
                if (vectors.dtype, vectors.shape) != (matrix.dtype, (items.size, dimension)):
                    raise ValueError(f"vectors are {vectors.dtype} {vectors.shape}")
                wrong = len(np.unique(items)) < items.size or (items < 0).any()
                if wrong or not np.isfinite(vectors).all():
                    raise ValueError("an item is negative or repeated, or a vector is not finite")
                matrix[items], mask[items] = vectors, True
        return matrix, mask

    def _files(self) -> list[Path]:
        """Return the parts, the oldest first, because a later one may replace its items."""
        return sorted(self.folder.glob(f"{'[0-9]' * 6}-{'[0-9]' * 4}.npz"))


def embed_rows(encoder: SpeakerEncoder, source: AudioFolder, rows: np.ndarray) -> np.ndarray:
    """Return the embeddings float32 [N x D] of the utterances ``rows``, each in one piece."""
    _refuse(source, _too_short(encoder, source, rows))
    items = plan_items(rows, source.samples, encoder.frontend, longest=int(source.samples.max()))
    memory = MEMORY[encoder.device.type]
    batches = plan_batches(items.frames, batch_frames(encoder, memory))
    with closing(embed_batches(encoder, source, items, batches, memory, strict=True)) as results:
        vectors = np.concatenate([batch.values for batch in results])
    return vectors[np.argsort(np.concatenate(batches))]


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

    The options are those of `tidyvoice extract`; ``seed`` draws the utterances of ``limit``. Each
    process of ``world`` calls this function.
    """
    out, world = Path(out), world or World(0, 1, encoder.device)
    if out.is_dir():
        raise TidyVoiceError(f"{out} is a folder: give the file to write")
    source = AudioFolder(data)
    rows = np.arange(len(source.ids))
    if limit is not None and limit < len(rows):
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:limit])
    failures = _too_short(encoder, source, rows)
    if strict:
        _refuse(source, failures)
    fit = rows[[row not in failures for row in rows.tolist()]]
    most = max(encoder.frontend.num_frames(round(longest * SAMPLE_RATE)), 1)
    items = plan_items(fit, source.samples, encoder.frontend, most)
    parts, memory = Parts(out), memory_mib or MEMORY[encoder.device.type]
    largest = batch_frames(encoder, memory)
    with only_writer(parts.folder) if world.is_first else nullcontext():
        state = None
        if world.is_first:
            ids = "\n".join(source.ids[row] for row in fit).encode()
            utterances = hashlib.sha256(ids + source.samples[fit].astype("<i8").tobytes())
            utterances.update(source.content(fit).encode())
            plan = {"utterances": utterances.hexdigest(), "code": source_hash()}
            plan |= {"model": encoder.weights, "frontend": encoder.settings.model_dump_json()}
            plan |= {"precision": encoder.precision, "longest": f"{longest:g}"}
            # Rounding differs between devices.
            plan |= {"device": encoder.device.type, "batch_frames": str(largest)}
            number = parts.begin(Plan(plan))
            state = number, parts.collect(len(items), encoder.embed_dim)[1]
        number, done = world.gather(state)[0]
        # A batch with a missing item is computed again as a whole, so that the bytes are the same.
        batches = [b for b in plan_batches(items.frames, largest) if not done[b].all()]
        missing = {row for batch in batches for row in items.rows[batch].tolist()}
        resumed = len(fit) - len(missing)
        if resumed and world.is_first:
            message = f"{parts.folder}: resuming after {resumed:,} of {len(rows):,} utterances"
            print(message, file=sys.stderr, flush=True)
        share = batches[world.rank :: world.size]
        results = embed_batches(encoder, source, items, share, memory, strict)
        written = _write_parts(results, parts, number, world.rank)
        quiet = None if world.is_first else True
        with closing(results), closing(written):
            for batch in tqdm(written, str(data), len(share), unit=" batches", disable=quiet):
                failures |= {int(items.rows[item]): why for item, why in batch.failures.items()}
        failures = {row: why for theirs in world.gather(failures) for row, why in theirs.items()}
        listed = out.with_name(out.name + ".failed.txt")
        if world.is_first:
            listed.unlink(missing_ok=True)
            lines = [f"{source.ids[row]} {failures[row]}" for row in sorted(failures)]
            if lines:
                write_text(listed, "\n".join(lines) + "\n")
            _merge(parts, out, encoder, source, items, summarise(lines, 1))
    failed = len(failures)
    return Extracted(len(rows) - failed, resumed, failed, listed if failed else None)


def _write_parts(results: Iterator[Batch], parts: Parts, number: int, rank: int) -> Iterator[Batch]:
    """Yield the batches of ``results``, and write them as parts from ``number`` on."""
    unwritten: list[Batch] = []
    start = last = time.monotonic()

    def write() -> None:
        if unwritten:
            items, vectors, _ = zip(*unwritten, strict=True)
            parts.write(number, rank, np.concatenate(items), np.concatenate(vectors))
            unwritten.clear()

    try:
        for batch in results:
            if len(batch.items):
                unwritten.append(batch)
            yield batch
            now = time.monotonic()
            if now - last >= min(max(SHARE * (now - start), SHORTEST), LONGEST_PART):
                write()
                number, last = number + 1, now
    finally:
        write()


def _merge(
    parts: Parts, out: Path, encoder: SpeakerEncoder, source: AudioFolder, items: Items, why: str
) -> None:
    """Write the table from the parts, then remove them; ``why`` explains an empty table."""
    vectors, mask = parts.collect(len(items), encoder.embed_dim)
    firsts = items.firsts
    complete = np.logical_and.reduceat(mask, firsts) if len(firsts) else mask
    if not complete.any():
        shutil.rmtree(parts.folder)
        raise TidyVoiceError(f"{source.data}: no utterance could be read: {why}")
    pieces = np.diff(np.append(firsts, len(items)))
    for first, count in zip(firsts[pieces > 1], pieces[pieces > 1], strict=True):
        part = slice(first, first + count)
        vectors[first] = np.average(vectors[part], axis=0, weights=items.frames[part])
    kept = firsts[complete]
    if len(kept) < len(vectors):
        vectors = vectors[kept]
    ids = [source.ids[row] for row in items.rows[kept]]
    save_embeddings(out, ids, vectors, encoder.trained_on, encoder.weights)
    shutil.rmtree(parts.folder)


def _too_short(encoder: SpeakerEncoder, source: AudioFolder, rows: np.ndarray) -> dict[int, str]:
    """Return the rows of utterances that are too short for the encoder, with the reason."""
    fewest = encoder.fewest_frames
    limit = "one frame" if fewest == 1 else f"the {fewest} frames that {encoder.precision} needs"
    if encoder.precision == "bfloat16":
        limit += "; use --precision float32"
    short = rows[source.samples[rows] < encoder.frontend.num_samples(fewest)]
    return {int(row): f"{source.samples[row]} samples, less than {limit}" for row in short}


def _refuse(source: AudioFolder, short: dict[int, str]) -> None:
    """Raise a TidyVoiceError if there are utterances that are too short."""
    for row, why in short.items():
        fix = f"leave them out of {source.data}"
        raise TidyVoiceError(f"{source.ids[row]} has {why} ({len(short)} such utterances): {fix}")
