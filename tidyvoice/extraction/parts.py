"""Finished parts of an extraction, kept in files beside its output so that it can resume."""

import json
import sys
import zipfile
from pathlib import Path

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import atomic_path, write_text


class Parts:
    """Folder ``out`` + ".parts" of items with their embeddings, and the plan of the extraction."""

    def __init__(self, out: Path):
        self.folder = out.with_name(out.name + ".parts")

    def begin(self, plan: dict[str, str | int]) -> int:
        """Keep parts of the same plan, delete others, and return a number above that of each part.

        The plan is everything that the embeddings depend on, by name.
        """
        path, files = self.folder / "plan.json", self._files()
        older = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        others = [name for name in plan if older.get(name) != plan[name]]
        if others and files:
            message = f"{self.folder} has parts for another {', '.join(others)}: deleted"
            print(message, file=sys.stderr, flush=True)
            for file in files:
                file.unlink()
        write_text(path, json.dumps(plan, indent=1) + "\n")
        return max((int(file.name.split("-")[0]) for file in self._files()), default=-1) + 1

    def write(self, number: int, rank: int, items: np.ndarray, vectors: np.ndarray) -> None:
        """Write part ``number`` of a process: the embeddings float32 [K x D] of items int64 [K]."""
        path = self.folder / f"{number:06d}-{rank:04d}.npz"
        with atomic_path(path) as partial, open(partial, "wb") as file:
            np.savez(file, items=items, vectors=vectors)

    def collect(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the embeddings float32 [count x D], and which are there, bool [count]."""
        matrix, mask = np.zeros((count, 0), np.float32), np.zeros(count, dtype=bool)
        for path in self._files():
            try:
                with np.load(path, allow_pickle=False) as archive:
                    items, vectors = archive["items"], archive["vectors"]
            except (ValueError, KeyError, EOFError, zipfile.BadZipFile):
                raise TidyVoiceError(f"{path} is damaged: delete it, and run again") from None
            if not matrix.shape[1]:
                matrix = np.zeros((count, vectors.shape[1]), np.float32)
            matrix[items], mask[items] = vectors, True
        return matrix, mask

    def _files(self) -> list[Path]:
        """Return the parts, the oldest first, because a later one may replace its items."""
        return sorted(self.folder.glob("[0-9]*.npz"))
