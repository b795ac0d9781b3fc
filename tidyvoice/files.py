"""Atomic writes, locks and checksums of files."""

import glob
import hashlib
import itertools
import os
import platform
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tidyvoice.errors import TidyVoiceError

PARTIAL = ".partial"
RECORDINGS = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aac")  # endings; never replaced
# Names that no table and no message can hold. Python reads bytes that are not UTF-8 as surrogates.
UNUSABLE = re.compile("[\n\r\udc80-\udcff]")
_numbers = itertools.count()  # for temporary names, because threads may write the same file


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; rename it to ``path`` if the block succeeds.

    The block may make a file or a folder. A missing parent folder is created. If the block fails,
    ``path`` is unchanged. The files are flushed to the disk before the name changes.
    """
    path = Path(path)
    # /dev/stdout is a link, which would be replaced by a file.
    in_dev = path.absolute().parent == Path("/dev")
    if path.exists() and (in_dev or not (path.is_file() or path.is_dir())):
        raise TidyVoiceError(f"{path} is a device or a pipe, not a file: give another name")
    partial = _partial_name(path)
    try:
        yield partial
        for name in (partial, *partial.rglob("*")):
            if name.is_file():
                with open(name, "rb") as file:
                    os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        _remove(partial)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a new folder as ``atomic_path``; ``path`` must be missing or an empty folder."""
    refuse_used(path)
    with atomic_path(path) as partial:
        partial.mkdir()
        yield partial


def refuse_used(folder: str | Path) -> None:
    """Raise a TidyVoiceError unless ``folder`` is missing or an empty folder."""
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TidyVoiceError(f"{folder} exists: delete it or choose another name")


def _partial_name(path: Path) -> Path:
    """Return a temporary name beside ``path``, and delete those of processes that have ended."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Only files of this machine: other machines may share the folder and still write theirs.
    begin = f".{path.name}.{platform.node().replace('.', '-')}"
    for left in path.parent.glob(f"{glob.escape(begin)}.*{PARTIAL}"):
        try:
            os.kill(int(left.name.split(".")[-2].partition("-")[0]), 0)
        except ProcessLookupError:
            _remove(left)
        except (PermissionError, ValueError, OverflowError):
            pass  # of a running process of another user, or another file
    return path.with_name(f"{begin}.{os.getpid()}-{next(_numbers)}{PARTIAL}")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def one_at_a_time(path: str | Path, wait: bool = True) -> Iterator[None]:
    """Lock ``path`` between reading and writing it; the system unlocks it when the process ends.

    If another process holds the lock, wait for it or raise a TidyVoiceError.
    """
    from filelock import FileLock, Timeout  # slow to import

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path / ".lock" if path.is_dir() else path.with_name(f".{path.name}.lock")
    try:
        with FileLock(lock, timeout=-1 if wait else 0):
            yield
    except Timeout:
        fix = "wait for it or stop it"
        raise TidyVoiceError(f"another process is writing in {path}: {fix}") from None


def only_writer(folder: str | Path) -> AbstractContextManager[None]:
    """Lock ``folder`` for writing, or raise a TidyVoiceError if another process has locked it."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    return one_at_a_time(folder, wait=False)


def refuse_inputs(outputs: Sequence[Path], inputs: Iterable[Path]) -> None:
    """Raise a TidyVoiceError if an output cannot be written without losing something.

    An output must not be a folder, a device, a recording, another output, or an input; nor may it
    replace a file in an input that is a folder.
    """
    read = {Path(os.path.realpath(path)) for path in inputs}
    for number, out in enumerate(outputs):
        real = Path(os.path.realpath(out))
        if real.exists() and not real.is_file():
            raise TidyVoiceError(f"{out} is not a file: give the name of a file to write")
        if real.exists() and real.suffix.lower() in RECORDINGS:
            raise TidyVoiceError(f"{out} is a recording: give another name")
        if above := next((folder for folder in real.parents if folder.is_file()), None):
            raise TidyVoiceError(f"{out}: {above} is a file: give a name in a folder")
        if real in read or (real.exists() and any(map(out.samefile, filter(Path.exists, read)))):
            raise TidyVoiceError(f"{out} is an input and would be overwritten: give another name")
        folder = next((folder for folder in real.parents if folder in read), None)
        if folder and real.exists():
            raise TidyVoiceError(f"{out} belongs to the input {folder}: give another name")
        if real in [Path(os.path.realpath(other)) for other in outputs[:number]]:
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


def source_hash(*folders: str) -> str:
    """Return the SHA-256 of the Python files of this package and of further folders."""
    digest = hashlib.sha256()
    for folder in (Path(__file__).parent, *map(Path, folders)):
        for path in sorted(folder.rglob("*.py")):
            name = path.relative_to(folder).as_posix()
            digest.update(f"{name}\0{sha256(path)}\n".encode())
    return digest.hexdigest()
