"""Unpack tar, tar.gz and zip archives of others, and the archives inside them."""

import errno
import gzip
import os
import re
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tidyvoice.errors import TidyVoiceError, reading
from tidyvoice.files import atomic_folder

ENDING = re.compile(r"\.(tar|tar\.gz|tgz|zip)$", re.IGNORECASE)
FIX = "download it again, or unpack it yourself and give the folder"
BLOCK = 2**20  # bytes
DEEPEST, MOST = 3, 5_000_000  # archives in archives; members of all of them
NAMES = (errno.EEXIST, errno.ENOTDIR, errno.ENAMETOOLONG)  # of two members, or of one too long
INVALID = re.compile("[\0-\x1f\ud800-\udfff]")  # such as bytes that are not UTF-8


def unpack(archive: Path, out: Path) -> None:
    """Unpack ``archive`` to ``out``, which exists completely or not at all.

    A single top folder with the name of ``out`` is left out of the paths. An archive inside is
    unpacked to a folder with its name, without the ending. Permissions and times are not kept.
    Links, devices, sparse files and paths that lead out of the folder are a TidyVoiceError.
    """
    if not archive.is_file():
        raise TidyVoiceError(f"{archive} is missing. Give the archive")
    with atomic_folder(out) as partial:
        _unpack(archive, str(archive), partial, out.name, iter(range(MOST)))
        if not any(files for _, _, files in os.walk(partial)):
            raise TidyVoiceError(f"{archive} contains no file. Download it again")
        os.sync()  # one flush is faster than those of atomic_path, which have nothing left to write


def _unpack(
    archive: Path, title: str, folder: Path, name: str, numbers: Iterator[int], depth: int = 1
) -> None:
    """Unpack an archive and the archives inside it; ``title`` is its name in messages."""
    path = folder
    try:
        folder.mkdir(exist_ok=True)
        for member, content in _contents(archive, title, folder, numbers):
            path = folder / member
            if content is None:
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "xb") as file:
                for block in content:
                    file.write(block)
    except OSError as error:
        if error.errno not in NAMES:
            raise
        problem = f"the member {path.name[:50]} cannot be written ({error.strerror})"
        raise TidyVoiceError(f"{title}: {problem}: {FIX}") from None
    for path in sorted(folder.rglob("*")):
        # macOS writes a hidden file beside each file, with the same ending.
        if ENDING.search(path.name) and path.is_file() and not path.name.startswith("."):
            if depth == DEEPEST:
                raise TidyVoiceError(f"{title}: archives in archives are nested too deep: {FIX}")
            inner, within = ENDING.sub("", path.name), f"{title}: {path.relative_to(folder)}"
            _unpack(path, within, path.with_name(inner), inner, numbers, depth + 1)
            path.unlink()
    if os.listdir(folder) == [name] and (folder / name).is_dir():
        top = (folder / name).rename(folder / f".{name}")
        for path in list(top.iterdir()):
            path.rename(folder / path.name)
        top.rmdir()


def _contents(
    archive: Path, title: str, folder: Path, numbers: Iterator[int]
) -> Iterator[tuple[str, Iterator[bytes] | None]]:
    """Yield path and blocks of each file, and the path and None of each folder."""
    with reading(title, "archive", FIX), open(archive, "rb") as stream:
        members = _zip if stream.read(2) == b"PK" else _tar
        stream.seek(0)
        for member, size, file in members(stream):
            if size > shutil.disk_usage(folder).free:
                raise TidyVoiceError(f"{title} unpacks to more than the disk has free: make room")
            if next(numbers, None) is None:
                raise ValueError(f"more than {MOST:,} members")
            if ".." in re.split(r"[/\\]", member) or member.startswith(("/", "\\")):
                raise ValueError(f"'{member}' leads out of the folder")
            if INVALID.search(member):
                raise ValueError(f"{member[:50]!r} is no valid name")
            yield member, file and _blocks(file, title)


def _blocks(file: BinaryIO, title: str) -> Iterator[bytes]:
    with reading(title, "archive", FIX), file:
        while block := file.read(BLOCK):
            yield block


def _zip(stream: BinaryIO) -> Iterator[tuple[str, int, BinaryIO | None]]:
    with zipfile.ZipFile(stream) as archive:
        members = archive.infolist()
        yield ".", sum(member.file_size for member in members), None
        for member in members:
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ValueError(f"'{member.filename}' is a link or a device")
            folder = member.is_dir()
            yield member.filename, 0, None if folder else archive.open(member)


def _tar(stream: BinaryIO) -> Iterator[tuple[str, int, BinaryIO | None]]:
    compressed = stream.read(2) == b"\x1f\x8b"
    stream.seek(0)
    content = _Bounded(gzip.GzipFile(fileobj=stream) if compressed else stream)
    with tarfile.open(fileobj=content, mode="r:") as archive:
        while member := archive.next():
            archive.members.clear()  # a million members would take a GB
            if not (member.isdir() or (member.isreg() and not member.issparse())):
                raise ValueError(f"'{member.name}' is a link, a device or a sparse file")
            if member.size < 0:
                raise ValueError(f"'{member.name}' has {member.size} bytes")
            yield member.name, member.size, None if member.isdir() else archive.extractfile(member)
        # tarfile takes any damaged header for the end, which is two blocks of zeros.
        if content.latest + content.read(tarfile.BLOCKSIZE) != bytes(2 * tarfile.BLOCKSIZE):
            raise ValueError("no end of the archive")
        while content.read(BLOCK):  # gzip compares its checksum at the end
            pass


class _Bounded:
    """Stream of a tar, in which no header makes tarfile read more than a block at once."""

    def __init__(self, stream: BinaryIO):
        self.stream, self.tell, self.seek = stream, stream.tell, stream.seek

    def read(self, size: int) -> bytes:
        if not 0 <= size <= BLOCK:
            raise ValueError(f"a header of {size:,} bytes")
        self.latest = self.stream.read(size)
        return self.latest
