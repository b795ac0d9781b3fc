"""What an extraction has done so far, in files beside its output, so that it can go on."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import atomic_path, write_text

PLAN = "plan.json"
MANY = "batch_frames"


def digest(*contents: bytes) -> str:
    """SHA-256 of several byte strings, in hexadecimal."""
    found = hashlib.sha256()
    for content in contents:
        found.update(len(content).to_bytes(8, "little") + content)
    return found.hexdigest()


class Parts:
    """A folder of part files, each some items and their embeddings, and the plan they are of.

    Args:
        out: the table that is being made; the folder is its name with ``.parts``.
    """

    def __init__(self, out: str | Path):
        out = Path(out)
        self.folder = out.with_name(out.name + ".parts")

    def begin(self, plan: dict[str, str], batch_frames: int, chosen: bool) -> tuple[int, str]:
        """Keep the parts of the same plan, discard those of another. For the first process.

        Args:
            plan: what the embeddings depend on, by name.
            batch_frames: of this run; parts that are there were made with their own, which is
                taken in place of one that was not ``chosen``, so that the bytes are the same.

        Returns:
            The frames of a batch, and why parts were discarded ("" if none were).
        """
        path, reason = self.folder / PLAN, ""
        if path.exists():
            try:
                found = json.loads(path.read_text(encoding="utf-8"))
                kept = int(found.pop(MANY))
            except (ValueError, KeyError, AttributeError, TypeError):
                found, kept = {}, 0
            others = [name for name in plan if found.get(name) != plan[name]]
            if not others:
                batch_frames = batch_frames if chosen else kept
            elif any(self._files()):
                reason = f"{self.folder} is of other {', '.join(others)}: discarded, begun anew"
            if others:
                for file in self._files():
                    file.unlink()
        else:
            for file in self._files():
                file.unlink()
        write_text(path, json.dumps({**plan, MANY: batch_frames}, indent=1) + "\n")
        return batch_frames, reason

    def next_run(self) -> int:
        """The number of a run that comes after those whose parts are there."""
        return max((int(file.name.split("-")[0]) for file in self._files()), default=0) + 1

    def write(self, name: tuple[int, int, int], items: np.ndarray, vectors: np.ndarray) -> None:
        """Keep the embeddings float32 [K x D] of items int64 [K].

        Args:
            name: number of the run, of the process, and of its part.
        """
        run, rank, number = name
        path = self.folder / f"{run:04d}-{rank:04d}-{number:06d}.npz"
        with atomic_path(path) as partial, open(partial, "wb") as file:
            np.savez(file, items=items, vectors=vectors)

    def read(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Items and embeddings of each part, the oldest first.

        Raises:
            TidyVoiceError: a part is damaged.
        """
        for path in sorted(self._files()):
            try:
                with np.load(path, allow_pickle=False) as archive:
                    items, vectors = archive["items"], archive["vectors"]
            except (ValueError, KeyError, EOFError, zipfile.BadZipFile):
                raise TidyVoiceError(f"{path} is damaged: delete it, it is made again") from None
            yield items, vectors

    def done(self, count: int) -> np.ndarray:
        """Which of ``count`` items are in the parts, bool [count]."""
        found = np.zeros(count, dtype=bool)
        for items, _ in self.read():
            found[items] = True
        return found

    def collect(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings float32 [count x D] of the items in the parts, and which these are."""
        matrix, found = np.zeros((count, 0), np.float32), np.zeros(count, dtype=bool)
        for items, vectors in self.read():
            if not matrix.shape[1]:
                matrix = np.zeros((count, vectors.shape[1]), np.float32)
            matrix[items], found[items] = vectors, True
        return matrix, found

    def remove(self) -> None:
        shutil.rmtree(self.folder)

    def _files(self) -> list[Path]:
        return list(self.folder.glob("[0-9]*.npz"))
