"""The files of a model: how to find them in a folder, an archive or a repository.

A model folder holds ``config.yaml`` and the weights, either beside it or in the sub-folder
``models`` as in an experiment of WeSpeaker. Every command chooses the files with ``find_model``.
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
OPTIONAL = (SPEAKERS_FILE, VERIFIER_FILE, HEAD_FILE)
MODEL_FILES = (*WEIGHT_FILES, CONFIG_FILE, *OPTIONAL)
INNER = "models"
# A line of SPEAKERS_FILE that stands for further speakers whose names are unknown.
OTHERS = "*"
ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar")
# Folders to search, nearest first.
DEPTHS = ("", "*/", "*/*/")
ACCEPTED = f"{', '.join(WEIGHT_FILES)} or {INNER}/{WEIGHT_FILES[0]}"
# Their tensors have the names of WeSpeaker's, but they need other features.
VOXBLINK2 = (
    "checkpoints of VoxBlink2's own scripts do not work with WeSpeaker's features: use WeSpeaker's "
    "voxblink2_samresnet34 instead"
)
# Errors of damaged archives. RuntimeError stands for an encrypted one.
DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError,
)  # fmt: skip


@dataclass(frozen=True)
class ModelFiles:
    """Paths of a model's files.

    Attributes:
        weights: the state dict.
        config: the settings of the network and its features; None for a lone file of weights.
        optional: those of ``OPTIONAL`` that exist.
    """

    weights: PurePath
    config: PurePath | None
    optional: tuple[PurePath, ...] = ()

    @property
    def folder(self) -> Path:
        """The model folder, which also holds the verifier."""
        return Path((self.config or self.weights).parent)

    @property
    def paths(self) -> list[PurePath]:
        """All files."""
        return [self.weights, *([self.config] if self.config else []), *self.optional]


def find_model(names: Iterable[PurePosixPath], source: str | Path) -> ModelFiles:
    """Choose the files of a model among ``names``.

    The model folder is the one nearest the top. Its weights are the first of avg_model.pt,
    model.safetensors, models/avg_model.pt and models/model.safetensors. In ``models``, a
    config.yaml beside the weights is preferred to the one above.

    Args:
        source: the folder, archive or repository, for error messages.

    Raises:
        TidyVoiceError: there are no weights, no config.yaml for them, or several models equally
            near the top.
    """
    paths = set(names)
    weights: dict[PurePosixPath, list[tuple[bool, int, PurePosixPath]]] = {}
    for path in paths:
        if path.name in WEIGHT_FILES:
            inner = path.parent.name == INNER
            folder = path.parent.parent if inner else path.parent
            weights.setdefault(folder, []).append((inner, WEIGHT_FILES.index(path.name), path))
    if not weights:
        raise TidyVoiceError(f"{source} holds no {ACCEPTED}: give the folder of a model")
    depth = min(len(folder.parts) for folder in weights)
    nearest = sorted(folder for folder in weights if len(folder.parts) == depth)
    if len(nearest) > 1:
        folders = summarise([str(folder) for folder in nearest])
        raise TidyVoiceError(f"{source} holds several models: give one of {folders}")
    preferred = [path for _, _, path in sorted(weights[nearest[0]])]
    for path in preferred:
        for folder in dict.fromkeys((path.parent, nearest[0])):
            if folder / CONFIG_FILE in paths:
                optional = (folder / name for name in OPTIONAL if folder / name in paths)
                return ModelFiles(path, folder / CONFIG_FILE, tuple(optional))
    raise TidyVoiceError(
        f"{source} holds {preferred[0]}, but no {CONFIG_FILE} beside it: add WeSpeaker's, which "
        f"names the network and its features; {VOXBLINK2}"
    )


def model_in(folder: Path, source: str | Path = "") -> ModelFiles:
    """Return the files of the model in a folder or in its sub-folders, at most two levels deep.

    Args:
        source: the origin of the folder, for error messages; by default the folder.

    Raises:
        TidyVoiceError: see ``find_model``.
    """
    names: list[PurePosixPath] = []
    for depth in DEPTHS:
        patterns = (depth + inner + name for inner in ("", f"{INNER}/") for name in MODEL_FILES)
        paths = (path for pattern in patterns for path in folder.glob(pattern) if path.is_file())
        names += (PurePosixPath(path.relative_to(folder)) for path in paths)
        # Deeper levels may hold millions of files.
        if any(name.name in WEIGHT_FILES for name in names):
            break
    weights, config, *optional = (
        folder / path for path in find_model(names, source or folder).paths
    )
    return ModelFiles(weights, config, tuple(optional))


def model_of_weights(path: Path) -> ModelFiles:
    """Return the files of the model with the weights ``path``, with or without a config.yaml."""
    above = [path.parent.parent] if path.parent.name == INNER else []
    configs = (folder / CONFIG_FILE for folder in (path.parent, *above))
    return ModelFiles(path, next((config for config in configs if config.is_file()), None))


def copy_model(folder: Path, into: Path, source: str | Path) -> None:
    """Copy the files of the model in ``folder`` into one folder.

    Raises:
        TidyVoiceError: see ``find_model``.
    """
    for path in model_in(folder, source).paths:
        shutil.copyfile(path, into / path.name)


def unpack_model(archive: Path, into: Path) -> None:
    """Copy the files of the model in a .zip, .tar or .tar.gz into one folder.

    Only regular files are read. They are written under their own names, never under a path that
    the archive gives.

    Raises:
        TidyVoiceError: the archive is damaged or encrypted, or a path leads out of it; see also
            ``find_model``.
    """
    try:
        with _opened(archive) as (members, read):
            outside = [name for name in members if name.is_absolute() or ".." in name.parts]
            if outside:
                raise TidyVoiceError(
                    f"{archive}: the path {outside[0]} leads out of the archive: do not unpack it"
                )
            for path in find_model(members, archive).paths:
                with read(members[path]) as file, open(into / path.name, "wb") as copy:
                    shutil.copyfileobj(file, copy)
    except DAMAGED as error:
        reason = str(error) or type(error).__name__
        raise TidyVoiceError(f"{archive} cannot be unpacked: {reason}") from None


@contextmanager
def _opened(archive: Path) -> Iterator[tuple[dict[PurePosixPath, Any], Callable[[Any], IO]]]:
    """Yield the regular files of an archive by path, and the function that opens one of them."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as opened:
            entries = (entry for entry in opened.infolist() if not entry.is_dir())
            yield {PurePosixPath(entry.filename): entry for entry in entries}, opened.open
        return
    with tarfile.open(archive) as opened:
        entries = (entry for entry in opened if entry.isfile())
        yield {PurePosixPath(entry.name): entry for entry in entries}, opened.extractfile
