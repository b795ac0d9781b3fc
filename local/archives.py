"""Archives onto the disk: tar, tar.gz and zip, those inside others too, whole or not at all.

An archive is unpacked beside its folder under a temporary name, checked by the checksums that it
carries, and renamed. The marker ``.extracted.json`` in the folder says what came out of which.
"""

import gzip
import io
import json
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
from tidyvoice.files import PARTIAL, only_writer, write_text

MARKER = ".extracted.json"
ENDING = re.compile(r"\.(tar|tar\.gz|tgz|zip)$", re.IGNORECASE)
BLOCK = 2**20


class _Damaged(Exception):
    """A header within a tar file that is none."""


class _Member(tarfile.TarInfo):
    """A member of a tar file that has to be whole: tarfile takes a broken header for the end."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> "_Member":
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError as error:
            raise _Damaged(str(error)) from None


def extract(archive: str | Path, out: str | Path, delete: bool = False) -> int:
    """Unpack ``archive`` to the folder ``out``, unless that is done; the number of files there.

    A top folder that is called as ``out`` is not repeated. An archive inside goes to a folder with
    its name, without ending, and is unpacked in the same way.

    Args:
        delete: remove the archive once all that was in it is there.

    Raises:
        TidyVoiceError: there is no such archive, it is damaged, cut short, encrypted or none; a
            name in it leads out of the folder, or is a link in a zip or a link to the outside;
            ``out`` holds something else, or lacks files; another process is unpacking it.
    """
    archive, out = Path(archive), Path(out)
    if extracted(out, archive) is None:
        if not archive.is_file():
            raise TidyVoiceError(f"{archive} is missing: give the archive")
        if not hasattr(tarfile, "data_filter"):
            raise TidyVoiceError("this Python unpacks no archive safely: use 3.10.12, 3.11.4 or up")
        _unpack_whole(archive, out)
    if delete and extracted(out, archive):
        archive.unlink(missing_ok=True)
    return _read_marker(out)["files"]


def extracted(out: str | Path, archive: str | Path | None = None) -> str | None:
    """Name of the archive that ``out`` came from; None if there is nothing at ``out`` yet.

    Raises:
        TidyVoiceError: ``out`` holds something else than what came from an archive, or from
            ``archive`` where that is given, or files of it are missing.
    """
    out = Path(out)
    if not (out / MARKER).is_file():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise TidyVoiceError(
                f"{out} is there already, and no archive was unpacked to it: give it as --root "
                "alone, or move it away"
            )
        return None
    earlier = _read_marker(out)
    name, size = earlier["archive"], earlier["bytes"]
    if archive is not None:
        archive = Path(archive)
        if archive.name != name or (archive.exists() and archive.stat().st_size != size):
            raise TidyVoiceError(
                f"{out} came from {name} of {size:,} bytes, which {archive} is not: give another "
                "folder, or delete this one"
            )
    found = _count(out)
    if found < earlier["files"]:
        raise TidyVoiceError(
            f"{out} holds {found:,} of the {earlier['files']:,} files that came from {name}: "
            "delete the folder to unpack it again"
        )
    return name


def _read_marker(out: Path) -> dict[str, Any]:
    path = out / MARKER
    try:
        marker = json.loads(path.read_text(encoding="utf-8"))
        return {"archive": str(marker["archive"])} | {
            key: int(marker[key]) for key in ("bytes", "files")
        }
    except (ValueError, TypeError, KeyError):
        raise TidyVoiceError(f"{path} is damaged: delete the folder to unpack it again") from None


def _count(folder: Path) -> int:
    """Files below a folder, without the marker."""
    return sum(len(files) for _, _, files in os.walk(folder)) - (folder / MARKER).exists()


def _unpack_whole(archive: Path, out: Path) -> None:
    partial = out.with_name(f".{out.name}{PARTIAL}")
    with only_writer(partial):
        tree = partial / out.name
        if tree.exists():  # of a process that was killed
            shutil.rmtree(tree)
        try:
            with (
                tqdm(desc=archive.name, unit=" files", disable=None) as bar,
                open(archive, "rb") as file,
                _named(archive),
            ):
                _unpack(file, tree, bar)
            files = _count(tree)
            if not files:
                raise TidyVoiceError(f"{archive} holds no file: fetch it again")
            size = archive.stat().st_size
            marker = {"archive": archive.name, "bytes": size, "files": files}
            write_text(tree / MARKER, json.dumps(marker) + "\n")
            # All of it is to be on the disk before the name says so.
            os.sync()
            if out.exists():
                out.rmdir()
            tree.rename(out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _named(archive: Path) -> Iterator[None]:
    """What an archive can have wrong becomes one line that names it."""
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
            f"{archive} is damaged, cut short or no archive ({error}): fetch it again"
        ) from None


def _unpack(stream: io.BufferedReader, folder: Path, bar: tqdm) -> None:
    """Unpack a stream to a new folder; what it is, its first bytes tell, not its name."""
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
            # The list of a zip is at its end.
            with tempfile.TemporaryFile(dir=folder.parent) as copy:
                shutil.copyfileobj(stream, copy, BLOCK)
                _unpack_zip(copy, folder, bar)
    else:
        _unpack_tar(stream, folder, bar)
    _collapse(folder)


def _unpack_tar(stream: io.BufferedReader, folder: Path, bar: tqdm) -> None:
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Member) as tar:
        while (member := tar.next()) is not None:
            # Else it would keep all members of the archive in memory.
            tar.members.clear()
            safe = tarfile.data_filter(member, str(folder))
            name = safe.name
            if member.isreg() and _is_archive(name):
                inside = io.BufferedReader(tar.extractfile(member), BLOCK)
                _unpack(inside, folder / ENDING.sub("", name), bar)
            elif member.islnk() and not os.path.exists(folder / safe.linkname):
                raise _Damaged(f"'{name}' is a link to what did not come before it")
            else:
                # It has passed the filter "data", whose price is not paid twice.
                tar.extract(safe, folder, filter="fully_trusted")
            bar.update(member.isreg())
    # What follows the tar holds the checksum of a gzip.
    while stream.read(BLOCK):
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
    """By its name, and not one of the hidden files that some systems put beside each file."""
    return bool(ENDING.search(name)) and not Path(name).name.startswith(".")


def _collapse(folder: Path) -> None:
    """Take away a folder whose only content is a folder of the same name."""
    inside = folder / folder.name
    if os.listdir(folder) == [folder.name] and inside.is_dir():
        outer = folder.rename(folder.with_name(f".{folder.name}.outer"))
        (outer / folder.name).rename(folder)
        outer.rmdir()
