"""What a published text must not tell: folders of this machine, and names of speakers."""

import re
from collections.abc import Iterable
from pathlib import Path, PurePath

from tidyvoice.errors import TidyVoiceError

# The leak guard's sentences, and how they name files, whose paths may hold spaces.
GUARD = re.compile(r" share [\d,]+ (?:speakers|utterances)| against | alone separate ")
GUARDED = re.compile(
    r"(the (?:(?:calibration )?trials of|training of the model of|mean of|cohort|calibration)) "
    r"(.+?)"
    r"(?= and the | share [\d,]+ | against |: | are not known| are called |$)"
)
# What is left of paths then: a word with a slash.
PATH = re.compile(r"[^\s,;:()'\"`]*/[^\s,;:()'\"`]*")
KEPT = 2


def shown(path: str | PurePath) -> str:
    """A path as others may read it: its last parts, below this folder; of others the last one."""
    path = Path(path)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    if path.is_absolute() or ".." in path.parts:
        return path.name
    return "/".join(path.parts[-KEPT:])


def without_folders(text: str, known: Iterable[str | PurePath] = ()) -> str:
    """The text with the bare names of files for their paths.

    Args:
        known: paths that it may name, which matters where their folders hold spaces.
    """
    folders = {str(PurePath(path).parent) for path in known}
    for folder in sorted(folders - {".", "/"}, key=len, reverse=True):
        text = text.replace(f"{folder}/", "")
    if GUARD.search(text):
        text = GUARDED.sub(lambda found: f"{found[1]} {PurePath(found[2]).name}", text)
    return PATH.sub(lambda found: PurePath(found[0]).name, text)


def refuse_leaks(folder: Path, private: Iterable[Path]) -> None:
    """Refuse a folder of which a text names one of the ``private`` folders, or the user's own.

    Raises:
        TidyVoiceError: one does.
    """
    hidden = {str(path.absolute()) for path in (*private, Path.cwd(), Path.home())} - {"/"}
    for file in sorted(folder.iterdir()):
        # Weights are no text, and what tokens they hold by chance says nothing.
        if file.suffix not in (".md", ".json", ".yaml", ".txt"):
            continue
        text = file.read_text(encoding="utf-8")
        for path in sorted(hidden, key=len, reverse=True):
            if re.search(rf"(?<!\w){re.escape(path)}(?!\w)", text):
                raise TidyVoiceError(
                    f"{file.name} would tell others of {path}: leave it out of --about and of the "
                    "names of files"
                )
