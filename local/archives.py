"""Unpack tar, tar.gz and zip archives, and the archives inside them.

An archive is unpacked to a temporary folder, which is then renamed: the folder exists completely or
not at all. Archives inside need room twice until they are unpacked.
"""

import gzip
import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import PARTIAL, only_writer

ENDING = re.compile(r"\.(tar|tar\.gz|tgz|zip)$", re.IGNORECASE)
BLOCK = 2**20
# A KeyError is a link to a member that is missing.
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, KeyError)


def extract(archive: Path, out: Path) -> None:
    """Unpack ``archive`` to the new folder ``out``.

    A single top folder with the name of ``out`` is left out of the paths. An archive inside is
    unpacked to a folder with its name, without the ending.

    Raises:
        TidyVoiceError: ``out`` exists and is not empty; the archive is missing, empty, damaged, cut
            short or encrypted; it contains a path or a link that leads out of the folder; another
            process is unpacking it.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise TidyVoiceError(f"{out} exists. Move it away, or give another --root")
    if not archive.is_file():
        raise TidyVoiceError(f"{archive} is missing. Give the archive")
    if not hasattr(tarfile, "data_filter"):
        raise TidyVoiceError(
            "this Python cannot unpack archives safely. Use 3.10.12, 3.11.4 or newer"
        )
    partial = out.with_name(f".{out.name}{PARTIAL}")
    tree = partial / out.name
    with only_writer(partial):
        shutil.rmtree(tree, ignore_errors=True)  # left by a process that was killed
        try:
            _unpack(archive, tree)
            if not any(files for _, _, files in os.walk(tree)):
                raise TidyVoiceError(f"{archive} contains no file. Download it again")
            os.sync()  # before the final name says that all of it is on the disk
            if out.exists():
                out.rmdir()
            tree.rename(out)
        except (tarfile.FilterError, RuntimeError) as error:
            raise TidyVoiceError(
                f"{archive}: {error}. Check it, unpack it yourself and give the folder"
            ) from None
        except DAMAGE as error:
            raise TidyVoiceError(
                f"{archive} is damaged, cut short or not an archive ({error}). Download it again"
            ) from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive, whose first bytes determine its format, and the archives inside it."""
    folder.mkdir(parents=True)
    with open(archive, "rb") as file:
        begin = file.read(2)
    if begin == b"PK":
        _unpack_zip(archive, folder)
    else:
        _unpack_tar(archive, folder, gzip.open if begin == b"\x1f\x8b" else open)
    for path in sorted(folder.rglob("*")):
        # macOS writes a hidden file beside each file, with the same ending.
        if ENDING.search(path.name) and path.is_file() and not path.name.startswith("."):
            packed = path.rename(path.with_name(f".{path.name}"))
            _unpack(packed, path.with_name(ENDING.sub("", path.name)))
            packed.unlink()
    if os.listdir(folder) == [folder.name] and (folder / folder.name).is_dir():
        outer = folder.rename(folder.with_name(f".{folder.name}.outer"))
        (outer / folder.name).rename(folder)
        outer.rmdir()


def _unpack_tar(archive: Path, folder: Path, open_file: Callable[..., Any]) -> None:
    with (
        open_file(archive, "rb") as stream,
        tarfile.open(fileobj=stream, mode="r:", errorlevel=2) as tar,
    ):
        tar.extractall(folder, filter="data")
        # tarfile takes any damaged header for the end, which is two blocks of zeros.
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("no end of the archive")
        while stream.read(BLOCK):  # gzip compares its checksum at the end
            pass


def _unpack_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            name = member.filename
            if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name):
                raise tarfile.FilterError(f"'{name}' leads out of the folder")
            if stat.S_ISLNK(member.external_attr >> 16):
                raise tarfile.FilterError(f"'{name}' is a link")
        file.extractall(folder)  # a RuntimeError if a member is encrypted
