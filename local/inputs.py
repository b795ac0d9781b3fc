"""Check the inputs of the recipe tidyvoice before its first stage: all that is missing, at once.

python -m local.inputs corpus --only dev
"""

import argparse
import os
from pathlib import Path

from tidyvoice.errors import TidyVoiceError, one_line_errors

TRIALS = "TidyVocieX_Dev_trialPairs"  # the challenge's own spelling


def missing(corpus: Path, parts: tuple[str, ...], pretraining: bool) -> list[str]:
    """Return a line for each missing input, with what to do."""
    lines = []
    for part in parts:
        folder = corpus / "TidyVoiceX_ASV" / f"TidyVoiceX_{part}"
        archive = folder.with_suffix(".tar.gz")
        if not (folder.exists() or archive.exists() or os.environ.get("MDC_API_KEY")):
            key = "set MDC_API_KEY to a key of https://mozilladatacollective.com"
            lines.append(f"{folder}: {key}, or put {archive.name} there")
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
    parser.add_argument("--only", choices=("dev", "tidyvoicex"), help="what is needed, if not all")
    args = parser.parse_args()
    parts = ("Dev",) if args.only == "dev" else ("Dev", "Train")
    if lines := missing(args.corpus, parts, pretraining=args.only is None):
        listed = "".join(f"\n  {line}" for line in lines)
        raise TidyVoiceError(f"missing inputs, {len(lines)} in all:{listed}")


if __name__ == "__main__":
    with one_line_errors():
        main()
