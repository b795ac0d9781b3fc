"""The dev trials of the TidyVoice 2026 challenge: 12,000,000 lines ``1|0 enroll test``.

They are a zip with ``TidyVocieX_Dev_trialPairs.txt`` (the organisers' spelling), behind the link to
a file share that the challenge sends, which no script can follow.

    python -m local.tidyvoice_trials --trials dev_trials.zip \\
        --out corpus/TidyVocieX_Dev_trialPairs.txt

unpacks the list and checks its lines. `tidyvoice doctor` compares it with the audio.
"""

import shutil
import zipfile
import zlib
from pathlib import Path

from local.sources import describe, parser_of
from tidyvoice.errors import TidyVoiceError, one_line_errors
from tidyvoice.files import atomic_path
from tidyvoice.scoring.trials import read_trials

TRIALS = "TidyVocieX_Dev_trialPairs.txt"


def main() -> None:
    """Unpack and check the list."""
    parser = parser_of("tidyvoice_trials", __doc__)
    parser.add_argument("--trials", type=Path, required=True, help="the zip")
    parser.add_argument("--out", type=Path, required=True, help="list to write")
    args = parser.parse_args()
    try:
        with zipfile.ZipFile(args.trials) as archive:
            names = [name for name in archive.namelist() if Path(name).name == TRIALS]
            if not names:
                raise TidyVoiceError(
                    f"{args.trials} contains no {TRIALS}. Is it the zip of the trials?"
                )
            with (
                archive.open(names[0]) as packed,
                atomic_path(args.out) as partial,
                open(partial, "wb") as plain,
            ):
                shutil.copyfileobj(packed, plain, 2**20)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise TidyVoiceError(f"{args.trials} is damaged ({error}). Download it again") from None
    print(f"{args.out}: {describe(read_trials(args.out))}")


if __name__ == "__main__":
    with one_line_errors():
        main()
