"""Removal of this machine's folders from published texts."""

import re
from collections.abc import Iterable
from pathlib import Path, PurePath

from tidyvoice.errors import TidyVoiceError

PATH = re.compile(r"[^\s,;:()'\"`]*/[^\s,;:()'\"`]*")
TEXTS = (".md", ".json", ".yaml", ".txt")


def shown(path: str | PurePath) -> str:
    """Return the part of a path that may be published.

    That is the last two parts of a path in the working directory, and the last one of any other.
    """
    path = Path(path)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    if path.is_absolute() or ".." in path.parts:
        return path.name
    return "/".join(path.parts[-2:])


def without_folders(text: str, paths: Iterable[str | PurePath] = ()) -> str:
    """Replace the paths in a text by the names of their files.

    Args:
        paths: paths that the text may contain; only these may contain spaces.
    """
    for path in sorted(map(str, paths), key=len, reverse=True):
        text = text.replace(path, PurePath(path).name)
    return PATH.sub(lambda match: PurePath(match[0]).name, text)


def refuse_leaks(folder: Path, private: Iterable[Path]) -> None:
    """Check that no text in a folder names a private folder, the working directory or the home.

    Raises:
        TidyVoiceError: a text does.
    """
    hidden = {str(path.absolute()) for path in (*private, Path.cwd(), Path.home())} - {"/"}
    for file in sorted(path for path in folder.iterdir() if path.suffix in TEXTS):
        text = file.read_text(encoding="utf-8")
        for path in sorted(hidden, key=len, reverse=True):
            if re.search(rf"(?<!\w){re.escape(path)}(?!\w)", text):
                raise TidyVoiceError(
                    f"{file.name} would publish the path {path}: remove it from --about and from "
                    "the names of files"
                )
