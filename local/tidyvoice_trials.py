"""The dev trials of the TidyVoice 2026 challenge: 12,000,000 lines ``1|0 enroll test``.

They are a zip with ``TidyVocieX_Dev_trialPairs.txt`` (the organisers' spelling), behind the link to
a file share that the challenge sends, which no script can follow.

    python -m local.tidyvoice_trials --trials dev_trials.zip \\
        --out corpus/TidyVocieX_Dev_trialPairs.txt --data data/dev

unpacks the list, and checks its lines, its length and that data/dev has every utterance. Without
--out, ``--trials`` is the list itself, which is only checked.
"""

import shutil
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from local.lists import check_count, describe
from local.sources import parser_of
from tidyvoice.data.manifest import Manifest
from tidyvoice.errors import TidyVoiceError, one_line_errors
from tidyvoice.files import atomic_path
from tidyvoice.scoring.trials import read_trials

TRIALS = "TidyVocieX_Dev_trialPairs.txt"
COUNT = 12_000_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Unpack and check; ``arguments`` are those of the command line unless given."""
    parser = parser_of("python -m local.tidyvoice_trials", __doc__)
    parser.add_argument("--trials", type=Path, required=True, help="the zip, or the list itself")
    parser.add_argument("--out", type=Path, help="list to write; needed for a zip")
    parser.add_argument("--data", type=Path, help="data folder that must have every utterance")
    args = parser.parse_args(arguments)
    if not args.trials.is_file():
        raise TidyVoiceError(f"{args.trials} is missing. Give the zip or the list")
    if (args.trials.suffix == ".zip" or zipfile.is_zipfile(args.trials)) != bool(args.out):
        raise TidyVoiceError("--out: give it with a zip, and leave it out with a list")
    if args.out:
        if args.out.exists():
            raise TidyVoiceError(f"{args.out} exists. Delete it, or check it with --trials")
        _unzip(args.trials, args.out)
    try:
        _check(args.out or args.trials, args.data)
    except TidyVoiceError as error:
        if args.out is None:
            raise
        args.out.unlink()
        raise TidyVoiceError(f"{error} (unpacked from {args.trials}, and deleted)") from None


def _check(path: Path, data: Path | None) -> None:
    trials = read_trials(path)
    check_count(trials, COUNT)
    if data:
        trials.places_in(Manifest.read(data).table["utterance"].to_list(), f"audio in {data}")
    print(f"{path}: {describe(trials)}")


def _unzip(archive: Path, out: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as file:
            texts = [
                name
                for name in file.namelist()
                if name.endswith(".txt") and not Path(name).name.startswith(".")
            ]
            named = [name for name in texts if Path(name).name == TRIALS]
            if not named and len(texts) != 1:
                raise TidyVoiceError(
                    f"{archive} contains no {TRIALS}. Is it the zip of the trials?"
                )
            with (
                file.open((named or texts)[0]) as packed,
                atomic_path(out) as partial,
                open(partial, "wb") as plain,
            ):
                shutil.copyfileobj(packed, plain, 2**20)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise TidyVoiceError(f"{archive} is damaged ({error}). Download it again") from None


if __name__ == "__main__":
    with one_line_errors():
        main()
