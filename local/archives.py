"""Unpack tar, tar.gz and zip archives, and the archives inside them.

An archive is unpacked beside its folder under a temporary name, with every checksum that it
carries, and then renamed: the folder is there whole or not at all.
"""

import gzip
import io
import os
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import PARTIAL, only_writer

ENDING = re.compile(r"\.(tar|tar\.gz|tgz|zip)$", re.IGNORECASE)
BLOCK = 2**20


class _Damaged(Exception):
    """The contents of a tar file are not what a tar file holds."""


class _Member(tarfile.TarInfo):
    """A member of a tar file; tarfile itself takes a damaged header for the end of the file."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> "_Member":
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError as error:
            raise _Damaged(str(error)) from None


def extract(archive: Path, out: Path) -> None:
    """Unpack ``archive`` to the new folder ``out``.

    A single top folder with the name of ``out`` is left out of the paths. An archive inside is
    unpacked to a folder with its name, without the ending.

    Raises:
        TidyVoiceError: ``out`` exists and is not empty; there is no such archive; it is empty,
            damaged, cut short, encrypted or of another format; it holds a path or a link that leads
            out of the folder; another process is unpacking it.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise TidyVoiceError(f"{out} exists: move it away, or give another --root")
    if not archive.is_file():
        raise TidyVoiceError(f"{archive} is missing: give the archive")
    if not hasattr(tarfile, "data_filter"):
        raise TidyVoiceError(
            "this Python cannot unpack archives safely: use 3.10.12, 3.11.4 or newer"
        )
    partial = out.with_name(f".{out.name}{PARTIAL}")
    with only_writer(partial):
        tree = partial / out.name
        if tree.exists():  # left by a process that was killed
            shutil.rmtree(tree)
        try:
            with (
                tqdm(desc=archive.name, unit=" files", disable=None) as bar,
                open(archive, "rb") as file,
                _errors_of(archive),
            ):
                _unpack(file, tree, bar)
            if not any(files for _, _, files in os.walk(tree)):
                raise TidyVoiceError(f"{archive} holds no file: download it again")
            os.sync()  # before the final name says that all of it is on the disk
            if out.exists():
                out.rmdir()
            tree.rename(out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _errors_of(archive: Path) -> Iterator[None]:
    """Raise the errors of the libraries as one line that names the archive."""
    try:
        yield
    except tarfile.FilterError as error:
        raise TidyVoiceError(f"{archive}: {error}: refused") from None
    except NotImplementedError as error:
        raise TidyVoiceError(
            f"{archive}: {error}: unpack it with another program and give the folder"
        ) from None
    except (
        _Damaged,
        tarfile.TarError,
        zipfile.BadZipFile,
        gzip.BadGzipFile,
        zlib.error,
        EOFError,
    ) as error:
        raise TidyVoiceError(
            f"{archive} is damaged, cut short or no archive ({error}): download it again"
        ) from None


def _unpack(stream: io.BufferedReader, folder: Path, bar: tqdm) -> None:
    """Unpack a stream to a new folder; its first bytes, not its name, tell the format."""
    folder.mkdir(parents=True, exist_ok=True)
    begin = stream.peek(4)[:4]
    if begin.startswith(b"\x1f\x8b"):
        with gzip.GzipFile(fileobj=stream, mode="rb") as inside:
            _unpack(io.BufferedReader(inside, BLOCK), folder, bar)
        return
    if begin.startswith(b"PK"):
        if isinstance(stream.raw, io.FileIO):
            _unpack_zip(stream, folder, bar)
        else:
            # The directory of a zip file is at its end.
            with tempfile.TemporaryFile(dir=folder.parent) as copy:
                shutil.copyfileobj(stream, copy, BLOCK)
                _unpack_zip(copy, folder, bar)
    else:
        _unpack_tar(stream, folder, bar)
    _collapse(folder)


def _unpack_tar(stream: io.BufferedReader, folder: Path, bar: tqdm) -> None:
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Member) as tar:
        while (member := tar.next()) is not None:
            tar.members.clear()  # tarfile keeps all members of an archive in memory
            safe = tarfile.data_filter(member, str(folder))
            name = safe.name
            if member.isreg() and _is_archive(name):
                inside = io.BufferedReader(tar.extractfile(member), BLOCK)
                _unpack(inside, folder / ENDING.sub("", name), bar)
            elif member.islnk() and not os.path.exists(folder / safe.linkname):
                raise _Damaged(f"'{name}' is a link to a file that does not come before it")
            else:
                tar.extract(safe, folder, filter="fully_trusted")  # the filter "data" ran above
            bar.update(member.isreg())
    while stream.read(BLOCK):  # gzip compares its checksum at the end
        pass


def _unpack_zip(file: Any, folder: Path, bar: tqdm) -> None:
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            name = member.filename
            if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name):
                raise tarfile.FilterError(f"'{name}' leads out of the folder")
            if stat.S_ISLNK(member.external_attr >> 16):
                raise tarfile.FilterError(f"'{name}' is a link")
            if member.flag_bits & 1:
                raise NotImplementedError(f"'{name}' is encrypted")
            if _is_archive(name):
                with archive.open(member) as inside:
                    _unpack(io.BufferedReader(inside, BLOCK), folder / ENDING.sub("", name), bar)
            else:
                archive.extract(member, folder)
            bar.update(not member.is_dir())


def _is_archive(name: str) -> bool:
    # macOS puts a hidden file beside each file, with the same ending.
    return bool(ENDING.search(name)) and not Path(name).name.startswith(".")


def _collapse(folder: Path) -> None:
    """Remove a folder level whose only content is a folder of the same name."""
    inside = folder / folder.name
    if os.listdir(folder) == [folder.name] and inside.is_dir():
        outer = folder.rename(folder.with_name(f".{folder.name}.outer"))
        (outer / folder.name).rename(folder)
        outer.rmdir()
