"""Unpack tar, tar.gz and zip archives, and the archives inside them."""

import gzip
import os
import re
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path

from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import atomic_folder

ENDING = re.compile(r"\.(tar|tar\.gz|tgz|zip)$", re.IGNORECASE)
# A KeyError is a link to a member that is missing, a RuntimeError an encrypted member.
FAULTS = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError)


def extract(archive: Path, out: Path) -> None:
    """Unpack ``archive`` to ``out``, which exists completely or not at all.

    A single top folder with the name of ``out`` is left out of the paths. An archive inside is
    unpacked to a folder with its name, without the ending.

    Raises:
        TidyVoiceError: ``out`` is not empty; the archive is missing, empty, damaged or encrypted;
            it contains a path or a link that leads out of the folder.
    """
    if not archive.is_file():
        raise TidyVoiceError(f"{archive} is missing. Give the archive")
    if not hasattr(tarfile, "data_filter"):
        raise TidyVoiceError(
            "this Python cannot unpack archives safely. Use 3.10.12, 3.11.4 or newer"
        )
    with atomic_folder(out) as partial:
        try:
            _unpack(archive, partial, out.name)
        except (*FAULTS, gzip.BadGzipFile) as error:
            raise TidyVoiceError(
                f"{archive} cannot be unpacked ({error}). Download it again, or unpack it yourself "
                "and give the folder"
            ) from None
        if not any(files for _, _, files in os.walk(partial)):
            raise TidyVoiceError(f"{archive} contains no file. Download it again")
        os.sync()  # one flush is faster than one for each file


def _unpack(archive: Path, folder: Path, name: str) -> None:
    """Unpack an archive, whose first bytes determine its format, and the archives inside it."""
    folder.mkdir(exist_ok=True)
    with open(archive, "rb") as file:
        begin = file.read(2)
    if begin == b"PK":
        _unpack_zip(archive, folder)
    else:
        _unpack_tar(archive, folder, compressed=begin == b"\x1f\x8b")
    for path in sorted(folder.rglob("*")):
        # macOS writes a hidden file beside each file, with the same ending.
        if ENDING.search(path.name) and path.is_file() and not path.name.startswith("."):
            inner = ENDING.sub("", path.name)
            _unpack(path, path.with_name(inner), inner)
            path.unlink()
    if os.listdir(folder) == [name] and (folder / name).is_dir():
        top = (folder / name).rename(folder / f".{name}")
        for path in list(top.iterdir()):
            path.rename(folder / path.name)
        top.rmdir()


def _unpack_tar(archive: Path, folder: Path, compressed: bool) -> None:
    with (
        (gzip.open if compressed else open)(archive, "rb") as stream,
        tarfile.open(fileobj=stream, mode="r:", errorlevel=2) as tar,
    ):
        tar.extractall(folder, filter="data")
        # tarfile takes any damaged header for the end, which is two blocks of zeros.
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("no end of the archive")
        while stream.read(2**20):  # gzip compares its checksum at the end
            pass


def _unpack_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            outside = member.filename[0] in "/\\" or ".." in re.split(r"[/\\]", member.filename)
            if outside or stat.S_ISLNK(member.external_attr >> 16):
                raise tarfile.FilterError(f"'{member.filename}' leads out of the folder")
        file.extractall(folder)
