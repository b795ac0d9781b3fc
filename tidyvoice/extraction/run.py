"""One extraction: plan, finished parts, the batches of this process, and the merged table."""

import sys
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tidyvoice.batch_plan import Items, plan_batches, plan_items
from tidyvoice.distributed import World
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError, summarise
from tidyvoice.extraction.memory import Budget
from tidyvoice.extraction.parts import Parts, digest
from tidyvoice.extraction.source import Source
from tidyvoice.extraction.workers import embed_batches
from tidyvoice.files import only_writer, write_text
from tidyvoice.headers import SAMPLE_RATE
from tidyvoice.scoring.embeddings import save_embeddings
from tidyvoice.source import source_hash

# A part is written when it holds a tenth of the time so far, between these limits in seconds.
SHARE, SHORTEST, LONGEST_PART = 0.1, 1.0, 30.0
PRINTED = 10  # failures that a process prints; the list has all of them


@dataclass(frozen=True)
class Extracted:
    """Summary of an extraction.

    Attributes:
        utterances: number of embeddings in the table.
        resumed: how many of these an interrupted extraction had embedded before.
        failed: number of utterances that could not be read.
        failures: the file that lists them, if there are any; None in other processes than the
            first.
        hours: hours of audio embedded in this run.
        seconds: duration of this run.
    """

    utterances: int
    resumed: int
    failed: int
    failures: Path | None
    hours: float
    seconds: float


@dataclass
class Extraction:
    """One process of an extraction, see ``tidyvoice.extraction.extract.extract``."""

    encoder: SpeakerEncoder
    source: Source
    rows: np.ndarray
    out: Path
    world: World
    strict: bool
    longest: float

    def __post_init__(self) -> None:
        self._parts = Parts(self.out)
        self._failures: dict[int, str] = {}  # by row

    def run(self, memory_mib: int | None) -> Extracted:
        """Embed this process's share of the batches; the first process writes the table."""
        first, rows = self.world.is_first, self.rows
        short = too_short(self.encoder, self.source, rows)
        if self.strict:
            refuse(self.source, short)
        if first:
            self._fail(short)
        items = self._plan(rows[[row not in short for row in rows.tolist()]])
        with ExitStack() as stack:
            if first:
                stack.enter_context(only_writer(self._parts.folder))
            batches, resumed, run, budget = self._begin(items, memory_mib)
            start = time.monotonic()
            everyone = self.world.gather((self._embed(items, batches, run, budget), self._failures))
            for _, failures in everyone:
                self._failures.update(failures)
            failed = [row for row in rows.tolist() if row in self._failures]
            listed = None
            if first:
                listed = self._list(failed)
                self._merge(items)
        hours = sum(hours for hours, _ in everyone)
        count = len(rows) - len(failed)
        return Extracted(count, resumed, len(failed), listed, hours, time.monotonic() - start)

    def _plan(self, rows: np.ndarray) -> Items:
        frontend = self.encoder.frontend
        longest = frontend.num_frames(round(self.longest * SAMPLE_RATE))
        items = plan_items(rows, self.source.samples, frontend, max(longest, 1))
        pieces = int((~items.whole).sum())
        if pieces and self.world.is_first:
            count = int((~items.whole & (items.starts == 0)).sum())
            _print(f"{count:,} recordings over {self.longest:g} s, embedded in {pieces:,} pieces")
        return items

    def _begin(
        self, items: Items, memory_mib: int | None
    ) -> tuple[list[np.ndarray], int, int, Budget]:
        """Return this process's batches, the number of finished utterances, the run and budget."""
        encoder, source, rows = self.encoder, self.source, self.rows
        budget = Budget(encoder, memory_mib)
        batch_frames = min(self.world.gather(budget.batch_frames))
        state = None
        if self.world.is_first:
            ids = "\n".join(source.ids[row] for row in rows).encode()
            plan = {
                "utterances": digest(ids, source.samples[rows].astype("<i8").tobytes()),
                "code": source_hash(),
                "model": encoder.weights,
                "frontend": encoder.settings.model_dump_json(),
                "precision": encoder.precision,
                "device": encoder.device.type,  # rounding differs between devices
                "longest": f"{self.longest:g}",
            }
            kept, reason = self._parts.begin(plan, batch_frames, memory_mib is not None)
            if reason:
                _print(reason)
            state = (kept, self._parts.next_run(), self._parts.done(len(items)))
        batch_frames, run, done = self.world.gather(state)[0]
        # A batch with a missing item is computed again as a whole, so that the bytes are the same.
        batches = [b for b in plan_batches(items.frames, batch_frames) if not done[b].all()]
        missing = np.zeros(len(source.ids), dtype=bool)
        for batch in batches:
            missing[items.rows[batch]] = True
        resumed = int((~missing[items.rows[items.firsts]]).sum())
        if resumed and self.world.is_first:
            _print(f"{self._parts.folder}: resuming after {resumed:,} of {len(rows):,} utterances")
        return batches[self.world.rank :: self.world.size], resumed, run, budget

    def _embed(self, items: Items, batches: list[np.ndarray], run: int, budget: Budget) -> float:
        """Embed batches, write them as parts, and return the hours of audio embedded."""
        seconds = items.frames * self.encoder.frontend.frame_shift / SAMPLE_RATE
        unwritten: list[tuple[np.ndarray, np.ndarray]] = []
        number, start = 0, time.monotonic()
        last = start

        def write_part() -> None:
            nonlocal number, last
            if unwritten:
                finished, vectors = map(np.concatenate, zip(*unwritten, strict=True))
                self._parts.write((run, self.world.rank, number), finished, vectors)
                unwritten.clear()
                number += 1
            last = time.monotonic()

        results = embed_batches(self.encoder, self.source, items, batches, budget, self.strict)
        progress = self._progress(float(sum(seconds[batch].sum() for batch in batches)))
        audio = 0.0
        try:
            with closing(results), progress:
                for batch in results:
                    if len(batch.items):
                        unwritten.append((batch.items, batch.values))
                    self._fail({int(items.rows[item]): why for item, why in batch.failures})
                    audio += float(seconds[batch.items].sum())
                    progress.update(float(seconds[batch.items].sum()))
                    now = time.monotonic()
                    wait = min(max(SHARE * (now - start), SHORTEST), LONGEST_PART)
                    if now - last >= wait:
                        write_part()
        finally:
            write_part()
        return audio / 3600

    def _progress(self, seconds: float) -> tqdm:
        """Show seconds of audio: in a terminal all the time, in a log once a minute."""
        name = str(self.source.data)
        if self.world.size > 1:
            name += f" (1 of {self.world.size} processes)"
        return tqdm(
            desc=name, total=seconds, unit="s", unit_scale=True,
            disable=not self.world.is_first, mininterval=0.5 if sys.stderr.isatty() else 60,
        )  # fmt: skip

    def _fail(self, failures: dict[int, str]) -> None:
        for row, why in failures.items():
            if row in self._failures:
                continue
            self._failures[row] = why
            if len(self._failures) <= PRINTED:
                _print(f"left out: {self.source.ids[row]}: {why}")
            elif len(self._failures) == PRINTED + 1:
                _print("left out: more, which will be listed")

    def _list(self, failed: list[int]) -> Path | None:
        """Write the list of failed utterances; without any, remove an older list."""
        path = self.out.with_name(self.out.name + ".failed.txt")
        if not failed:
            path.unlink(missing_ok=True)
            return None
        write_text(path, "".join(f"{self.source.ids[r]} {self._failures[r]}\n" for r in failed))
        return path

    def _merge(self, items: Items) -> None:
        """Write the table from the parts, then remove them."""
        vectors, mask = self._parts.collect(len(items))
        firsts = items.firsts
        whole = np.logical_and.reduceat(mask, firsts) if len(firsts) else mask
        if not whole.any():
            self._parts.remove()
            why = summarise([f"{self.source.ids[r]}: {w}" for r, w in self._failures.items()], 1)
            raise TidyVoiceError(f"{self.source.data}: no utterance could be read: {why}")
        ends = np.append(firsts[1:], len(items))
        for first, end in zip(firsts, ends, strict=True):
            if end - first > 1:
                pieces, weights = vectors[first:end], items.frames[first:end]
                vectors[first] = np.average(pieces, axis=0, weights=weights)
        kept = firsts[whole]
        if len(kept) < len(vectors):
            vectors = vectors[kept]
        ids = [self.source.ids[row] for row in items.rows[kept]]
        save_embeddings(self.out, ids, vectors, self.encoder.trained_on, self.encoder.weights)
        self._parts.remove()


def too_short(encoder: SpeakerEncoder, source: Source, rows: np.ndarray) -> dict[int, str]:
    """Return the rows of utterances that are too short for the encoder, with the reason."""
    fewest = encoder.fewest_frames
    limit = "one frame" if fewest == 1 else f"the {fewest} frames that {encoder.precision} needs"
    if encoder.precision == "bfloat16":
        limit += "; use --precision float32"
    short = rows[source.samples[rows] < encoder.frontend.num_samples(fewest)]
    return {int(row): f"{source.samples[row]} samples, less than {limit}" for row in short}


def refuse(source: Source, short: dict[int, str]) -> None:
    """Raise a TidyVoiceError if there are utterances that are too short."""
    for row, why in short.items():
        raise TidyVoiceError(
            f"{source.ids[row]} has {why} ({len(short)} such utterances): leave them out of "
            f"{source.data}"
        )


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
