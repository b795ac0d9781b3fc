"""One extraction: plan, what is done already, the batches of this process, and the merged table."""

import sys
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tidyvoice.batch_plan import Items, plan_batches, plan_items
from tidyvoice.distributed import World
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError, summarise
from tidyvoice.extraction.memory import Budget
from tidyvoice.extraction.parts import Parts, digest
from tidyvoice.extraction.progress import Progress
from tidyvoice.extraction.source import Source
from tidyvoice.extraction.workers import embed_batches
from tidyvoice.files import only_writer, write_text
from tidyvoice.headers import SAMPLE_RATE
from tidyvoice.scoring.embeddings import save_embeddings
from tidyvoice.source import source_hash

# Work is kept when it is a tenth of all so far, but no oftener and no rarer than this (seconds).
SHARE, OFTENEST, RAREST = 0.1, 1.0, 30.0
SAID = 10  # failures that a process reports; the rest are in the list alone


@dataclass(frozen=True)
class Extracted:
    """What an extraction made.

    Attributes:
        utterances: in the table.
        found: of these, were there from an extraction that was stopped.
        failed: utterances that could not be read.
        failures: the list of them, where there are any; only the first process has it.
        hours: of audio, that this run embedded.
        seconds: that it took.
    """

    utterances: int
    found: int
    failed: int
    failures: Path | None
    hours: float
    seconds: float


@dataclass
class Extraction:
    """See ``tidyvoice.extraction.extract.extract``. Each process makes one and calls ``run``."""

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
        """Embed this process' batches; the first one merges what all have done."""
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
            batches, found, run, budget = self._begin(items, memory_mib)
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
        return Extracted(count, found, len(failed), listed, hours, time.monotonic() - start)

    def _plan(self, rows: np.ndarray) -> Items:
        frontend = self.encoder.frontend
        longest = frontend.num_frames(round(self.longest * SAMPLE_RATE))
        items = plan_items(rows, self.source.samples, frontend, max(longest, 1))
        pieces = int((~items.whole).sum())
        if pieces and self.world.is_first:
            count = int((~items.whole & (items.starts == 0)).sum())
            _say(f"recordings over {self.longest:g} s (--longest): {count:,}, in {pieces:,} pieces")
        return items

    def _begin(
        self, items: Items, memory_mib: int | None
    ) -> tuple[list[np.ndarray], int, int, Budget]:
        """This process' batches, how many utterances are done, the run's number, and the memory."""
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
                "device": encoder.device.type,  # whose last bits are its own
                "longest": f"{self.longest:g}",
            }
            kept, reason = self._parts.begin(plan, batch_frames, memory_mib is not None)
            if reason:
                _say(reason)
            state = (kept, self._parts.next_run(), self._parts.done(len(items)))
        batch_frames, run, done = self.world.gather(state)[0]
        # A batch of which something is missing is made whole again, as it was made at first.
        batches = [b for b in plan_batches(items.frames, batch_frames) if not done[b].all()]
        missing = np.zeros(len(source.ids), dtype=bool)
        for batch in batches:
            missing[items.rows[batch]] = True
        found = int((~missing[items.rows[items.firsts]]).sum())
        if found and self.world.is_first:
            _say(f"{self._parts.folder}: {found:,} of {len(rows):,} utterances are there already")
        return batches[self.world.rank :: self.world.size], found, run, budget

    def _embed(self, items: Items, batches: list[np.ndarray], run: int, budget: Budget) -> float:
        """Embed batches into parts; hours of audio that were embedded."""
        seconds = items.frames * self.encoder.frontend.frame_shift / SAMPLE_RATE
        name = str(self.source.data) if self.world.is_first else None
        if name and self.world.size > 1:
            name += f" (1 of {self.world.size} processes)"
        progress = Progress(name, float(sum(seconds[batch].sum() for batch in batches)))
        kept: list[tuple[np.ndarray, np.ndarray]] = []
        number, last = 0, 0.0

        def keep() -> None:
            nonlocal number, last
            if kept:
                items_done, vectors = map(np.concatenate, zip(*kept, strict=True))
                self._parts.write((run, self.world.rank, number), items_done, vectors)
                kept.clear()
                number += 1
            last = progress.elapsed

        done = embed_batches(self.encoder, self.source, items, batches, budget, self.strict)
        try:
            with closing(done):
                for batch in done:
                    if len(batch.items):
                        kept.append((batch.items, batch.values))
                    self._fail({int(items.rows[item]): why for item, why in batch.failures})
                    whole = batch.items[items.starts[batch.items] == 0]
                    progress.add(len(whole), float(seconds[batch.items].sum()))
                    wait = min(max(SHARE * progress.elapsed, OFTENEST), RAREST)
                    if progress.elapsed - last >= wait:
                        keep()
        finally:
            keep()
            progress.close()
        return progress.audio / 3600

    def _fail(self, failures: dict[int, str]) -> None:
        for row, why in failures.items():
            if row in self._failures:
                continue
            self._failures[row] = why
            if len(self._failures) <= SAID:
                _say(f"left out: {self.source.ids[row]}: {why}")
            elif len(self._failures) == SAID + 1:
                _say("left out: more, which will be listed")

    def _list(self, failed: list[int]) -> Path | None:
        """Write which utterances failed; a list of before is removed when none did."""
        path = self.out.with_name(self.out.name + ".failed.txt")
        if not failed:
            path.unlink(missing_ok=True)
            return None
        write_text(path, "".join(f"{self.source.ids[r]} {self._failures[r]}\n" for r in failed))
        return path

    def _merge(self, items: Items) -> None:
        """Write the table of what is in the parts, then remove these."""
        vectors, found = self._parts.collect(len(items))
        firsts = items.firsts
        whole = np.logical_and.reduceat(found, firsts) if len(firsts) else found
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
    """The utterances, by row, that are shorter than the encoder takes, and how short they are."""
    fewest = encoder.fewest_frames
    limit = "one frame" if fewest == 1 else f"the {fewest} frames that {encoder.precision} needs"
    if encoder.precision == "bfloat16":
        limit += "; use --precision float32"
    short = rows[source.samples[rows] < encoder.frontend.num_samples(fewest)]
    return {int(row): f"{source.samples[row]} samples, less than {limit}" for row in short}


def refuse(source: Source, short: dict[int, str]) -> None:
    """Raises: TidyVoiceError: there are utterances that are too short."""
    for row, why in short.items():
        raise TidyVoiceError(
            f"{source.ids[row]} has {why} ({len(short)} such utterances): leave them out of "
            f"{source.data}"
        )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
