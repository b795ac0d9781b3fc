"""Check the inputs of the recipe tidyvoice before its first stage: all that is missing, at once.

python -m local.inputs corpus --released
"""

import argparse
import os
from pathlib import Path

from tidyvoice.errors import TidyVoiceError, one_line_errors

TRIALS = "TidyVocieX_Dev_trialPairs"  # the challenge's own spelling


def missing(corpus: Path, parts: tuple[str, ...], pretraining: bool) -> list[str]:
    """Return a line for each missing input, with what to do."""
    lines, folders = [], [corpus / "TidyVoiceX_ASV" / f"TidyVoiceX_{part}" for part in parts]
    absent = [f for f in folders if not (f.exists() or f.with_suffix(".tar.gz").exists())]
    # The download holds both parts.
    if not (absent == folders and os.environ.get("MDC_API_KEY")):
        key = "or, without any part there, set MDC_API_KEY to a key of mozilladatacollective.com"
        lines += [f"{folder}: put {folder.name}.tar.gz there, {key}" for folder in absent]
    if not any((corpus / f"{TRIALS}{ending}").exists() for ending in (".txt", ".zip")):
        link = "put it there, or its .zip, from the link that the challenge sends"
        lines.append(f"{corpus / TRIALS}.txt: {link}")
    for name in ("voxceleb2", "voxblink2") if pretraining else ():
        if not (corpus / name).exists():
            where = f"python -m local.{name} --help says where; or give --init-from"
            lines.append(f"{corpus / name}: {where}")
    return lines


def main() -> None:
    """Raise an error that lists the missing inputs."""
    parser = argparse.ArgumentParser("python -m local.inputs", description=__doc__)
    parser.add_argument("corpus", type=Path, help="folder of the corpora")
    parser.add_argument("--init-from", action="store_true", help="without a pretraining")
    parser.add_argument("--released", action="store_true", help="without any training")
    args = parser.parse_args()
    parts = ("Dev",) if args.released else ("Dev", "Train")
    if lines := missing(args.corpus, parts, not (args.init_from or args.released)):
        listed = "".join(f"\n  {line}" for line in lines)
        raise TidyVoiceError(f"missing inputs, {len(lines)} in all:{listed}")


if __name__ == "__main__":
    with one_line_errors():
        main()
