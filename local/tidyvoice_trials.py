"""The dev trials of the TidyVoice 2026 challenge: 12,000,000 lines ``1|0 enroll test``.

They are a zip with ``TidyVocieX_Dev_trialPairs.txt`` (the organisers' spelling), behind the link to
a file share that the challenge sends, which no script can follow.

    python -m local.tidyvoice_trials --trials dev_trials.zip \\
        --out corpus/TidyVocieX_Dev_trialPairs.txt

unpacks the list and checks its lines. `tidyvoice doctor` compares it with the audio.
"""

import os
import tempfile
from pathlib import Path

from local.sources import describe, parser_of
from tidyvoice.archives import unpack
from tidyvoice.errors import TidyVoiceError, one_line_errors
from tidyvoice.files import refuse_inputs
from tidyvoice.scoring.trials import read_trials

TRIALS = "TidyVocieX_Dev_trialPairs.txt"


def main() -> None:
    """Unpack and check the list."""
    parser = parser_of("tidyvoice_trials", __doc__)
    parser.add_argument("--trials", type=Path, required=True, help="the zip")
    parser.add_argument("--out", type=Path, required=True, help="list to write")
    args = parser.parse_args()
    refuse_inputs([args.out], [args.trials])
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.out.parent) as folder:
        unpack(args.trials, Path(folder))
        lists = sorted(Path(folder).rglob(TRIALS))
        if not lists:
            raise TidyVoiceError(f"{args.trials} contains no {TRIALS}. Give the zip of the trials")
        os.replace(lists[0], args.out)
    print(f"{args.out}: {describe(read_trials(args.out))}")


if __name__ == "__main__":
    with one_line_errors():
        main()
