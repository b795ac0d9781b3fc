"""Finished parts of an extraction, kept in files beside its output so that it can resume."""

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
BATCH_FRAMES = "batch_frames"


def digest(*contents: bytes) -> str:
    """Return the SHA-256 of several byte strings, in hexadecimal."""
    sha256 = hashlib.sha256()
    for content in contents:
        sha256.update(len(content).to_bytes(8, "little") + content)
    return sha256.hexdigest()


class Parts:
    """A folder of part files, each with items and their embeddings, and the plan of the extraction.

    Args:
        out: the table that the extraction writes; the folder is ``out`` + ".parts".
    """

    def __init__(self, out: str | Path):
        out = Path(out)
        self.folder = out.with_name(out.name + ".parts")

    def begin(self, plan: dict[str, str], batch_frames: int, chosen: bool) -> tuple[int, str]:
        """Keep parts of the same plan and delete others. Only the first process calls this.

        Args:
            plan: everything that the embeddings depend on, by name.
            batch_frames: frames of a batch in this run. Parts of an interrupted run keep their own
                value unless this one was ``chosen`` by the user, so that the bytes are the same.

        Returns:
            The frames of a batch, and why parts were deleted ("" if none were).
        """
        path, reason = self.folder / PLAN, ""
        if path.exists():
            try:
                older = json.loads(path.read_text(encoding="utf-8"))
                older_frames = int(older.pop(BATCH_FRAMES))
            except (ValueError, KeyError, AttributeError, TypeError):
                older, older_frames = {}, 0
            others = [name for name in plan if older.get(name) != plan[name]]
            if not others:
                batch_frames = batch_frames if chosen else older_frames
            elif any(self._files()):
                reason = f"{self.folder} has parts for another {', '.join(others)}: deleted"
            if others:
                for file in self._files():
                    file.unlink()
        else:
            for file in self._files():
                file.unlink()
        write_text(path, json.dumps({**plan, BATCH_FRAMES: batch_frames}, indent=1) + "\n")
        return batch_frames, reason

    def next_run(self) -> int:
        """Return the number of this run, one more than that of any part."""
        return max((int(file.name.split("-")[0]) for file in self._files()), default=0) + 1

    def write(self, name: tuple[int, int, int], items: np.ndarray, vectors: np.ndarray) -> None:
        """Write a part: the embeddings float32 [K x D] of items int64 [K].

        Args:
            name: numbers of the run, of the process, and of the part.
        """
        run, rank, number = name
        path = self.folder / f"{run:04d}-{rank:04d}-{number:06d}.npz"
        with atomic_path(path) as partial, open(partial, "wb") as file:
            np.savez(file, items=items, vectors=vectors)

    def read(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield items and embeddings of each part, the oldest first.

        Raises:
            TidyVoiceError: a part is damaged.
        """
        for path in sorted(self._files()):
            try:
                with np.load(path, allow_pickle=False) as archive:
                    items, vectors = archive["items"], archive["vectors"]
            except (ValueError, KeyError, EOFError, zipfile.BadZipFile):
                raise TidyVoiceError(
                    f"{path} is damaged: delete it, and run the same command again"
                ) from None
            yield items, vectors

    def done(self, count: int) -> np.ndarray:
        """Mark which of ``count`` items are in the parts, bool [count]."""
        mask = np.zeros(count, dtype=bool)
        for items, _ in self.read():
            mask[items] = True
        return mask

    def collect(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the embeddings float32 [count x D], and which are there, bool [count]."""
        matrix, mask = np.zeros((count, 0), np.float32), np.zeros(count, dtype=bool)
        for items, vectors in self.read():
            if not matrix.shape[1]:
                matrix = np.zeros((count, vectors.shape[1]), np.float32)
            matrix[items], mask[items] = vectors, True
        return matrix, mask

    def remove(self) -> None:
        shutil.rmtree(self.folder)

    def _files(self) -> list[Path]:
        return list(self.folder.glob("[0-9]*.npz"))
