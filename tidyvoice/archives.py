"""The files of a model, in a folder or in an archive that holds one.

Released archives hold the files in a folder of their own. A WeSpeaker experiment has the weights
one folder below its config.yaml, in ``models``.
"""

import gzip
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from tidyvoice.errors import TidyVoiceError, summarise

WEIGHT_FILES = ("avg_model.pt", "model.safetensors")
CONFIG_FILE, SPEAKERS_FILE, VERIFIER_FILE = "config.yaml", "speakers.txt", "verifier.json"
MODEL_FILES = (*WEIGHT_FILES, CONFIG_FILE, SPEAKERS_FILE, VERIFIER_FILE)
# In SPEAKERS_FILE: there are others, whose names are not known.
OTHERS = "*"
# What a folder may hold beside what every model has.
BESIDE = (SPEAKERS_FILE, VERIFIER_FILE)
ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar")
WANTED = (*WEIGHT_FILES, CONFIG_FILE, *BESIDE)
DEPTHS = ("", "*/", "*/*/")
# What reading one raises: RuntimeError stands for an encrypted file.
DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError,
)  # fmt: skip


def find_model(names: Iterable[PurePosixPath], source: str | Path) -> dict[str, PurePosixPath]:
    """The files of the one model among ``names``, by what they are called in a model folder.

    Args:
        source: what holds them, for error messages.

    Raises:
        TidyVoiceError: no model is among them, or several.
    """
    known = set(names)
    weights = sorted(
        (name for name in known if name.name in WEIGHT_FILES),
        key=lambda name: (name.parent, WEIGHT_FILES.index(name.name)),
    )
    models: dict[PurePosixPath, dict[str, PurePosixPath]] = {}
    for name in weights:
        above = [name.parent.parent] if name.parent.name == "models" else []
        for folder in (name.parent, *above):
            config = folder / CONFIG_FILE
            if config in known:
                more = {file: name.parent / file for file in BESIDE if name.parent / file in known}
                models.setdefault(name.parent, {name.name: name, CONFIG_FILE: config, **more})
                break
    if len(models) == 1:
        return next(iter(models.values()))
    if models:
        listed = summarise([str(folder) for folder in models])
        raise TidyVoiceError(f"{source} holds several models: give one of {listed}")
    if weights:
        raise TidyVoiceError(f"{source} holds {weights[0]}, but no {CONFIG_FILE} beside it")
    raise TidyVoiceError(f"{source} holds no {' or '.join(WEIGHT_FILES)}")


def copy_model(folder: Path, into: Path, source: str | Path) -> None:
    """Copy the files of the model in ``folder``, or up to two below, into the folder ``into``.

    Raises:
        TidyVoiceError: see ``find_model``.
    """
    found = (path for depth in DEPTHS for name in WANTED for path in folder.glob(depth + name))
    names = [PurePosixPath(path.relative_to(folder)) for path in found if path.is_file()]
    for name, path in find_model(names, source).items():
        shutil.copyfile(folder / path, into / name)


def unpack_model(archive: Path, into: Path) -> None:
    """Copy the files of the model in a .zip, .tar or .tar.gz into the folder ``into``.

    They are read and written under their own names; no path of the archive is ever used, and links
    are no files.

    Raises:
        TidyVoiceError: damaged, encrypted, a path in it leads out of it, or see ``find_model``.
    """
    try:
        with _opened(archive) as (members, read):
            outside = [name for name in members if name.is_absolute() or ".." in name.parts]
            if outside:
                raise TidyVoiceError(f"{archive}: the path {outside[0]} leads out of the archive")
            for name, path in find_model(members, archive).items():
                with read(members[path]) as file, open(into / name, "wb") as copy:
                    shutil.copyfileobj(file, copy)
    except DAMAGED as error:
        reason = str(error) or type(error).__name__
        raise TidyVoiceError(f"{archive} cannot be unpacked: {reason}") from None


@contextmanager
def _opened(archive: Path) -> Iterator[tuple[dict[PurePosixPath, Any], Callable[[Any], IO]]]:
    """The regular files of an archive by their paths, and what opens one of them."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as opened:
            entries = (entry for entry in opened.infolist() if not entry.is_dir())
            yield {PurePosixPath(entry.filename): entry for entry in entries}, opened.open
        return
    with tarfile.open(archive) as opened:
        entries = (entry for entry in opened if entry.isfile())
        yield {PurePosixPath(entry.name): entry for entry in entries}, opened.extractfile
