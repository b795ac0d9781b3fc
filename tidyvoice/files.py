"""Atomic writes, locks and checksums of files."""

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
_numbers = itertools.count()  # for temporary names, because threads may write the same file


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; rename it to ``path`` if the block succeeds.

    A missing folder is created. If the block fails, the temporary file is deleted and ``path`` is
    unchanged. The file is flushed to the disk before it is renamed. Temporary files of killed
    processes are deleted.

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

    If the block fails, the new folder is deleted.

    Raises:
        TidyVoiceError: ``path`` exists and is not an empty folder.
    """
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise TidyVoiceError(f"{path} exists: delete it or choose another name")
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
    """Return a temporary name beside ``path``, and delete those of processes that have ended."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Only files of this machine: other machines may share the folder and still write theirs.
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
    """Lock ``folder`` for writing; the system unlocks it when the process ends.

    Raises:
        TidyVoiceError: another process has locked it.
    """
    from filelock import FileLock, Timeout  # slow to import

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout:
        raise TidyVoiceError(
            f"another process is writing in {folder}: wait for it or stop it"
        ) from None


@contextmanager
def one_at_a_time(path: str | Path) -> Iterator[None]:
    """Lock ``path`` between reading and writing it, and wait for others that hold the lock."""
    from filelock import FileLock  # slow to import

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        yield


def refuse_inputs(outputs: Sequence[Path], inputs: Iterable[Path]) -> None:
    """Refuse outputs that would overwrite an input or each other.

    Raises:
        TidyVoiceError: an output is one of the inputs, or another output.
    """
    read = [path for path in inputs if path.exists()]
    for number, out in enumerate(outputs):
        if out.exists() and any(map(out.samefile, read)):
            raise TidyVoiceError(f"{out} is an input and would be overwritten: give another name")
        if out.resolve() in [other.resolve() for other in outputs[:number]]:
            raise TidyVoiceError(f"{out} is the name of two outputs: give two names")


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically, see ``atomic_path``."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
