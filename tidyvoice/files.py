"""Files that are either whole or absent: written under a temporary name, then renamed."""

import fcntl
import glob
import hashlib
import itertools
import os
import platform
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tidyvoice.errors import TidyVoiceError

PARTIAL = ".partial"
_numbers = itertools.count()  # of temporary names: threads may write the same file


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; rename it to ``path`` if the block succeeds.

    The folder is made if it is missing. When the block fails, nothing is left behind and a file
    that stood at ``path`` is untouched. The file is flushed to the disk before it is renamed. What
    a process that was killed left behind is removed.

    Example:
        >>> with atomic_path("table.txt") as partial:  # doctest: +SKIP
        ...     partial.write_text("whole or absent")
    """
    path = Path(path)
    partial = _partial_name(path)
    try:
        yield partial
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a new folder beside ``path``; rename it to ``path`` if the block succeeds.

    ``path`` must not exist, or be an empty folder. When the block fails, nothing is left behind.

    Raises:
        TidyVoiceError: something is at ``path``.
    """
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise TidyVoiceError(f"{path} is there already: delete it or take another name")
    partial = _partial_name(path)
    partial.mkdir()
    try:
        yield partial
        for name in partial.rglob("*"):
            if name.is_file():
                with open(name, "rb") as file:
                    os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _partial_name(path: Path) -> Path:
    """A name beside ``path`` for this call; what processes that ended left is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Other machines may share the folder; whether their processes still run is not known here.
    begin = f".{path.name}.{platform.node().replace('.', '-')}"
    for left in path.parent.glob(f"{glob.escape(begin)}.*{PARTIAL}"):
        if _is_running(left.name.split(".")[-2].partition("-")[0]):
            continue
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
    return path.with_name(f"{begin}.{os.getpid()}-{next(_numbers)}{PARTIAL}")


def _is_running(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def only_writer(folder: str | Path) -> Iterator[None]:
    """Hold the right to write in ``folder``; the system takes it back when the process ends.

    Raises:
        TidyVoiceError: another process holds it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TidyVoiceError(
                f"another process is writing in {folder}: wait for it or stop it"
            ) from None
        yield


@contextmanager
def one_at_a_time(path: str | Path) -> Iterator[None]:
    """Wait until no other process is in such a block for ``path``: to read it and write it anew."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f".{path.name}.lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def refuse_inputs(outputs: Sequence[Path], inputs: Iterable[Path]) -> None:
    """Refuse to write over a file that is read, or two outputs to one file.

    Raises:
        TidyVoiceError: an output is one of the inputs, or another output.
    """
    read = [path for path in inputs if path.exists()]
    for number, out in enumerate(outputs):
        if out.exists() and any(map(out.samefile, read)):
            raise TidyVoiceError(f"{out} is read, and would be written over; give another name")
        if out.resolve() in [other.resolve() for other in outputs[:number]]:
            raise TidyVoiceError(f"{out} would be written twice; give two names")


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` to ``path``, whole or not at all (see ``atomic_path``)."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file, in hexadecimal; the file is read in blocks."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
