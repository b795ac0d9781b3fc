"""The files of a model: where they are in a folder, an archive or a repository.

A model's folder holds ``config.yaml``, and the weights beside it or in its sub-folder ``models``,
as in an experiment of WeSpeaker. ``find_model`` chooses the files of the model for every command.
"""

import gzip
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Any

from tidyvoice.errors import TidyVoiceError, summarise

WEIGHT_FILES = ("avg_model.pt", "model.safetensors")
CONFIG_FILE, SPEAKERS_FILE, VERIFIER_FILE = "config.yaml", "speakers.txt", "verifier.json"
HEAD_FILE = "head.pt"
# What a folder may hold beside what every model has.
BESIDE = (SPEAKERS_FILE, VERIFIER_FILE, HEAD_FILE)
MODEL_FILES = (*WEIGHT_FILES, CONFIG_FILE, *BESIDE)
INNER = "models"
# In SPEAKERS_FILE: there are others, whose names are not known.
OTHERS = "*"
ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar")
# Folders that are searched, nearest first.
DEPTHS = ("", "*/", "*/*/")
ACCEPTED = f"{', '.join(WEIGHT_FILES)} or {INNER}/{WEIGHT_FILES[0]}"
# What to do with models that have the same tensors, and need other features.
VOXBLINK2 = (
    "checkpoints of VoxBlink2's own scripts do not work with WeSpeaker's features: take "
    "WeSpeaker's voxblink2_samresnet34 instead"
)
# What reading one raises: RuntimeError stands for an encrypted file.
DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError,
)  # fmt: skip


@dataclass(frozen=True)
class ModelFiles:
    """Paths of a model's files.

    Attributes:
        weights: the state dict.
        config: the settings that belong to it; None for a lone file of weights.
        beside: those of ``BESIDE`` that are there.
    """

    weights: PurePath
    config: PurePath | None
    beside: tuple[PurePath, ...] = ()

    @property
    def folder(self) -> Path:
        """The model's folder, where also its verifier belongs."""
        return Path((self.config or self.weights).parent)

    @property
    def paths(self) -> list[PurePath]:
        return [self.weights, *([self.config] if self.config else []), *self.beside]


def find_model(names: Iterable[PurePosixPath], source: str | Path) -> ModelFiles:
    """Choose the files of the model among ``names``.

    The model's folder is the one nearest the top. Of several weights in it, the first of these is
    taken: avg_model.pt, model.safetensors, models/avg_model.pt, models/model.safetensors. In
    ``models``, a config.yaml beside the weights comes before the one above.

    Args:
        source: what holds them, for error messages.

    Raises:
        TidyVoiceError: there are no weights, or two folders with some are equally near the top, or
            no config.yaml belongs to the weights.
    """
    known = set(names)
    found: dict[PurePosixPath, list[tuple[bool, int, PurePosixPath]]] = {}
    for path in known:
        if path.name in WEIGHT_FILES:
            inner = path.parent.name == INNER
            folder = path.parent.parent if inner else path.parent
            found.setdefault(folder, []).append((inner, WEIGHT_FILES.index(path.name), path))
    if not found:
        raise TidyVoiceError(f"{source} holds no {ACCEPTED}: give the folder of a model")
    depth = min(len(folder.parts) for folder in found)
    nearest = sorted(folder for folder in found if len(folder.parts) == depth)
    if len(nearest) > 1:
        listed = summarise([str(folder) for folder in nearest])
        raise TidyVoiceError(f"{source} holds several models: give one of {listed}")
    weights = [path for _, _, path in sorted(found[nearest[0]])]
    for path in weights:
        for folder in dict.fromkeys((path.parent, nearest[0])):
            if folder / CONFIG_FILE in known:
                beside = (folder / name for name in BESIDE if folder / name in known)
                return ModelFiles(path, folder / CONFIG_FILE, tuple(beside))
    raise TidyVoiceError(
        f"{source} holds {weights[0]}, but no {CONFIG_FILE} beside it: add WeSpeaker's, which "
        f"names the network and its features; {VOXBLINK2}"
    )


def model_in(folder: Path, source: str | Path = "") -> ModelFiles:
    """The files of the model in ``folder``, or in its only sub-folder that holds one, two deep.

    Args:
        source: what the folder is of, for error messages; itself if left out.

    Raises:
        TidyVoiceError: see ``find_model``.
    """
    names: list[PurePosixPath] = []
    for depth in DEPTHS:
        patterns = (depth + inner + name for inner in ("", f"{INNER}/") for name in MODEL_FILES)
        paths = (path for pattern in patterns for path in folder.glob(pattern) if path.is_file())
        names += (PurePosixPath(path.relative_to(folder)) for path in paths)
        # A folder that holds a model may lie in one with a million files.
        if any(name.name in WEIGHT_FILES for name in names):
            break
    found = find_model(names, source or folder)
    weights, config, *beside = (folder / path for path in found.paths)
    return ModelFiles(weights, config, tuple(beside))


def model_of_weights(path: Path) -> ModelFiles:
    """The files of the model whose weights are the file ``path``, which may lack a config.yaml."""
    above = [path.parent.parent] if path.parent.name == INNER else []
    configs = (folder / CONFIG_FILE for folder in (path.parent, *above))
    config = next((config for config in configs if config.is_file()), None)
    return ModelFiles(path, config)


def copy_model(folder: Path, into: Path, source: str | Path) -> None:
    """Copy the files of the model in ``folder`` into the folder ``into``, all beside each other.

    Raises:
        TidyVoiceError: see ``find_model``.
    """
    for path in model_in(folder, source).paths:
        shutil.copyfile(path, into / path.name)


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
            for path in find_model(members, archive).paths:
                with read(members[path]) as file, open(into / path.name, "wb") as copy:
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
