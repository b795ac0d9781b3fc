"""The dev trials of the TidyVoice 2026 challenge: 12,000,000 lines ``1|0 enroll test``.

They come as a zip with ``TidyVocieX_Dev_trialPairs.txt`` (the organisers' spelling), behind the
link to a file share that the challenge sends, which no script can follow.

    python -m local.tidyvoice_trials --trials dev_trials.zip \\
        --out corpus/TidyVocieX_Dev_trialPairs.txt --data data/dev

unpacks the list, and checks its lines, its length and that data/dev has every utterance; a list
that is plain text is checked as well, and copied if --out is given.
"""

import shutil
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from local.lists import check_count, describe, require_audio
from local.sources import parser_of
from tidyvoice.data.manifest import Manifest
from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning, one_line_errors
from tidyvoice.files import atomic_path
from tidyvoice.scoring.trials import read_trials

TRIALS = "TidyVocieX_Dev_trialPairs.txt"
COUNT = 12_000_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Unpack and check; ``arguments`` are those of the command line unless given."""
    parser = parser_of("python -m local.tidyvoice_trials", __doc__)
    parser.add_argument("--trials", type=Path, required=True, help="the zip, or the list itself")
    parser.add_argument("--out", type=Path, help="where the list goes; needed for a zip")
    parser.add_argument("--data", type=Path, help="data folder that has to have every utterance")
    args = parser.parse_args(arguments)
    if not args.trials.is_file():
        raise TidyVoiceError(f"{args.trials} is missing: give the zip or the list")
    utterances = Manifest.read(args.data).table["utterance"].to_list() if args.data else None
    zipped = args.trials.suffix == ".zip" or zipfile.is_zipfile(args.trials)
    if not args.out:
        if zipped:
            raise TidyVoiceError(f"--out: say where the list in {args.trials} goes")
        said = _check(args.trials, utterances, args.data)
        print(f"{args.trials}: {said}")
        return
    if args.out.exists() and args.out.samefile(args.trials):
        raise TidyVoiceError("--out: is --trials itself: leave it away to check the list")
    with atomic_path(args.out) as partial:
        source = _unzip(args.trials, partial) if zipped else _copy(args.trials, partial)
        with _called(partial, source):
            said = _check(partial, utterances, args.data)
    print(f"{args.out}: {said}")


@contextmanager
def _called(partial: Path, source: str) -> Iterator[None]:
    """Errors and warnings name the file that the user knows instead of the temporary one."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", TidyVoiceWarning)
        try:
            yield
        except TidyVoiceError as error:
            raise TidyVoiceError(str(error).replace(str(partial), source)) from None
    for warning in said:
        text = str(warning.message).replace(str(partial), source)
        warnings.warn(text, warning.category, stacklevel=3)


def _check(path: Path, utterances: Sequence[str] | None, data: Path | None) -> str:
    """Check a list and describe it."""
    trials = read_trials(path)
    check_count(trials, COUNT)
    if utterances is not None:
        require_audio(trials, utterances, data)
    return describe(trials)


def _copy(trials: Path, out: Path) -> str:
    shutil.copyfile(trials, out)
    return str(trials)


def _unzip(archive: Path, out: Path) -> str:
    """Unpack the list; what it is called in messages."""
    try:
        with zipfile.ZipFile(archive) as file:
            texts = [
                name
                for name in file.namelist()
                if name.endswith(".txt") and not Path(name).name.startswith(".")
            ]
            name = next((name for name in texts if Path(name).name == TRIALS), None)
            if name is None and len(texts) == 1:
                name = texts[0]
            if name is None:
                raise TidyVoiceError(f"{archive} holds no {TRIALS}: is it the zip of the trials?")
            with file.open(name) as packed, open(out, "wb") as plain:
                shutil.copyfileobj(packed, plain, 2**20)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise TidyVoiceError(f"{archive} is damaged ({error}): fetch it again") from None
    return f"{archive}/{name}"


if __name__ == "__main__":
    with one_line_errors():
        main()
