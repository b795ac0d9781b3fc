"""The files of a model: how to find them in a folder, an archive or a repository."""

import gzip
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath, PurePosixPath
from typing import IO

from tidyvoice.errors import TidyVoiceError, summarise

WEIGHT_FILES = ("avg_model.pt", "model.safetensors")
CONFIG_FILE, SPEAKERS_FILE, VERIFIER_FILE = "config.yaml", "speakers.txt", "verifier.json"
HEAD_FILE = "head.pt"
OPTIONAL = (SPEAKERS_FILE, VERIFIER_FILE, HEAD_FILE)
MODEL_FILES = (*WEIGHT_FILES, CONFIG_FILE, *OPTIONAL)
INNER = "models"  # the folder of the weights in an experiment of WeSpeaker
# Places of the weights in a model folder, the preferred one first.
LAYOUTS = tuple(PurePosixPath(inner, name) for inner in ("", INNER) for name in WEIGHT_FILES)
# A line of SPEAKERS_FILE that stands for further speakers whose names are unknown.
OTHERS = "*"
ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar")
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
    """Paths of a model's files; ``config`` is None for a lone file of weights."""

    weights: PurePath
    config: PurePath | None
    optional: tuple[PurePath, ...] = ()

    @property
    def folder(self) -> Path:
        """The model folder, which also holds the optional files."""
        return Path((self.config or self.weights).parent)

    @property
    def paths(self) -> list[PurePath]:
        """All files."""
        return [self.weights, *([self.config] if self.config else []), *self.optional]


def find_model(names: Iterable[PurePosixPath], source: str | Path) -> ModelFiles:
    """Choose the files of a model among ``names``.

    The model folder is the one nearest the top, its weights are the first of ``LAYOUTS``. A
    config.yaml beside weights in ``models`` is preferred to the one above.

    Args:
        source: the folder, archive or repository, for error messages.

    Raises:
        TidyVoiceError: there are no weights, no config.yaml for them, or several models equally
            near the top.
    """
    paths = set(names)
    folders = {
        path.parents[len(layout.parts) - 1]
        for path in paths
        for layout in LAYOUTS
        if path.match(str(layout))
    }
    if not folders:
        raise TidyVoiceError(f"{source} holds no {ACCEPTED}: give the folder of a model")
    depth = min(len(folder.parts) for folder in folders)
    nearest = sorted(folder for folder in folders if len(folder.parts) == depth)
    if len(nearest) > 1:
        several = summarise([str(folder) for folder in nearest])
        raise TidyVoiceError(f"{source} holds several models: give one of {several}")
    weights = next(nearest[0] / layout for layout in LAYOUTS if nearest[0] / layout in paths)
    for folder in (weights.parent, nearest[0]):
        if folder / CONFIG_FILE in paths:
            optional = (folder / name for name in OPTIONAL if folder / name in paths)
            return ModelFiles(weights, folder / CONFIG_FILE, tuple(optional))
    raise TidyVoiceError(
        f"{source} holds {weights}, but no {CONFIG_FILE} beside it: add WeSpeaker's, which names "
        f"the network and its features; {VOXBLINK2}"
    )


def model_in(folder: Path, source: str | Path = "") -> ModelFiles:
    """Return the files of the model in a folder or in its sub-folders, at most two levels deep.

    See ``find_model``; ``source`` is by default the folder.
    """
    names: list[PurePosixPath] = []
    for depth in ("", "*/", "*/*/"):  # deeper levels may hold millions of files
        for name in MODEL_FILES:
            for inner in ("", f"{INNER}/"):
                names += (
                    PurePosixPath(path.relative_to(folder))
                    for path in folder.glob(depth + inner + name)
                    if path.is_file()
                )
        if any(name.name in WEIGHT_FILES for name in names):
            break
    weights, config, *optional = (folder / p for p in find_model(names, source or folder).paths)
    return ModelFiles(weights, config, tuple(optional))


def unpack_model(archive: Path, into: Path) -> None:
    """Copy the files of the model in a .zip, .tar or .tar.gz into one folder.

    Only regular files are read. They are written under their own names, never under a path that
    the archive gives.

    Raises:
        TidyVoiceError: the archive is damaged or encrypted, or a path leads out of it; see also
            ``find_model``.
    """
    try:
        with _members(archive) as members:
            for name in members:
                if name.is_absolute() or ".." in name.parts:
                    raise TidyVoiceError(
                        f"{archive}: the path {name} leads out of the archive: do not unpack it"
                    )
            for path in find_model(members, archive).paths:
                with members[path]() as file, open(into / path.name, "wb") as copy:
                    shutil.copyfileobj(file, copy)
    except DAMAGED as error:
        reason = str(error) or type(error).__name__
        raise TidyVoiceError(f"{archive} cannot be unpacked: {reason}") from None


@contextmanager
def _members(archive: Path) -> Iterator[dict[PurePosixPath, Callable[[], IO[bytes]]]]:
    """Yield the regular files of an archive by path, each as a function that opens it."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as opened:
            entries = [(e.filename, e) for e in opened.infolist() if not e.is_dir()]
            yield {PurePosixPath(name): partial(opened.open, entry) for name, entry in entries}
    else:
        with tarfile.open(archive) as opened:
            entries = [(e.name, e) for e in opened if e.isfile()]
            yield {PurePosixPath(name): partial(opened.extractfile, e) for name, e in entries}
