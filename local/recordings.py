"""Audio files below a folder: found at any depth, and inspected before anything relies on them.

Hidden files (the ``._FILE.wav`` that macOS puts beside each) are passed over and counted.
"""

import os
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from tqdm import tqdm

from tidyvoice.data.manifest import Manifest
from tidyvoice.errors import TidyVoiceError, summarise
from tidyvoice.files import write_text
from tidyvoice.headers import inspect_audio
from tidyvoice.readahead import read_ahead

UNFIT = "unfit.txt"
# Below it nothing is looked for: a link in a circle has no end.
DEEPEST = 8
THREADS = 8


@dataclass(frozen=True)
class Recordings:
    """Audio files.

    Attributes:
        root: the folder that they are below.
        names: their paths below it, sorted.
        hidden: those passed over, sorted.
    """

    root: Path
    names: list[str]
    hidden: list[str]

    def tell_hidden(self) -> None:
        """Say how many were passed over, if any."""
        if self.hidden:
            print(
                f"{self.root}: {len(self.hidden):,} hidden files passed over: {self.hidden[0]} .."
            )


def find_recordings(root: Path, endings: tuple[str, ...] = (".wav",)) -> Recordings:
    """All files below ``root`` whose names end so.

    Raises:
        TidyVoiceError: it is no folder or has none, or a name is not UTF-8.
    """
    if not root.is_dir():
        raise TidyVoiceError(f"{root} is missing: give the folder of the corpus")
    names, hidden = [], []
    for place, folders, files in os.walk(root, followlinks=True):
        below = os.path.relpath(place, root)
        prefix = "" if below == "." else f"{below}/"
        if prefix.count("/") >= DEEPEST:
            folders.clear()
        for file in files:
            if file.lower().endswith(endings):
                name = prefix + file
                of_system = any(part.startswith(".") for part in name.split("/"))
                (hidden if of_system else names).append(name)
    if not names:
        wanted = " or ".join(endings)
        raise TidyVoiceError(f"{root} holds no {wanted} file: is it the folder of the corpus?")
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise TidyVoiceError(
                f"{root}: the name {os.fsencode(name)!r} is not UTF-8: rename the file"
            ) from None
    return Recordings(root, sorted(names), sorted(hidden))


def by_root(found: Recordings) -> dict[str, list[str]]:
    """Names of the files that lie three floors below a folder, SPEAKER/FOLDER/FILE.wav, by folder.

    Folders are paths below the root, "." for itself; what lies less deep is in none.
    """
    roots = defaultdict(list)
    for name in found.names:
        parts = name.rsplit("/", 3)
        if len(parts) >= 3:
            root = parts[0] if len(parts) == 4 else "."
            roots[root].append("/".join(parts[-3:]))
    return dict(roots)


def inspected(manifest: Manifest, drop_to: Path | None = None, mend: str = "") -> Manifest:
    """The manifest with durations, once no file of it is unfit.

    A file is unfit if it is empty, cut short, no audio, or not at 16 kHz.

    Args:
        drop_to: a data folder; unfit files are left out and listed in its ``unfit.txt``.
        mend: what else than to mend them the user can do.

    Raises:
        TidyVoiceError: files are unfit, up to ten are named; or all are.
    """
    paths = manifest.table["path"].to_list()
    with closing(read_ahead(inspect_audio, paths, THREADS, ahead=64)) as results:
        found = list(tqdm(results, "headers", len(paths), unit=" files", disable=None))
    problems = [problem for _, problem in found if problem]
    if problems and (drop_to is None or len(problems) == len(paths)):
        raise TidyVoiceError(f"{len(problems):,} unfit files: {summarise(problems)}{mend}")
    if problems:
        write_text(drop_to / UNFIT, "".join(f"{problem}\n" for problem in problems))
        print(f"{drop_to}: {len(problems):,} unfit files left out, see {drop_to / UNFIT}")
    table = manifest.table.with_columns(pl.Series("seconds", [seconds for seconds, _ in found]))
    return Manifest(table.filter(pl.Series([not problem for _, problem in found])))


def manifest_of(root: str | Path, names: Sequence[str], languages: bool) -> Manifest:
    """That of files SPEAKER/FOLDER/FILE below ``root``, without durations; ids are the names.

    Args:
        languages: the middle folder is the language, not a video.

    Raises:
        TidyVoiceError: white space in a name.
    """
    parts = [name.split("/") for name in names]
    return Manifest.build(
        names,
        [f"{root}/{name}" for name in names],
        [part[0] for part in parts],
        [part[1] for part in parts] if languages else None,
    )
