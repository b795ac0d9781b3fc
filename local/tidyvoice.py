"""TidyVoiceX, the corpus of the TidyVoice 2026 challenge (from Common Voice, CC0).

Layout of an extracted part: ``SPEAKER/LANGUAGE/FILE.wav`` (``id011210/en/en_40387752.wav``),
16 kHz mono PCM16. Any corpus laid out so is prepared the same way.

    python -m local.tidyvoice --root corpus/TidyVoiceX_ASV/TidyVoiceX_Train --out data/finetune \
        --calib data/calib --calib-speakers 10

writes the data folder ``data/finetune`` and holds some speakers out of it, drawn by ``--seed``, in
``data/calib``: nothing is ever trained on them, so that a checkpoint or a calibration can be
chosen there.
"""

import argparse
from pathlib import Path

import numpy as np

from tidyvoice.errors import TidyVoiceError, one_line_errors
from tidyvoice.manifest import Manifest, scan


def hold_out(manifest: Manifest, count: int, seed: int) -> tuple[Manifest, Manifest]:
    """Split by speaker: the rest, and ``count`` speakers drawn by ``seed``."""
    speakers = manifest.speakers()
    if not 0 < count < len(speakers):
        raise TidyVoiceError(
            f"--calib-speakers {count}: give a number between 0 and the corpus' {len(speakers)}"
        )
    drawn = set(np.random.default_rng(seed).permutation(speakers)[:count].tolist())
    return manifest.select(set(speakers) - drawn), manifest.select(drawn)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m local.tidyvoice",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--root", type=Path, required=True, help="folder that holds the speakers")
    parser.add_argument("--out", type=Path, required=True, help="data folder to write")
    parser.add_argument("--calib", type=Path, help="data folder of the held-out speakers")
    parser.add_argument("--calib-speakers", type=int, default=0, help="how many to hold out")
    parser.add_argument("--seed", type=int, default=1, help="which speakers are held out")
    parser.add_argument(
        "--no-languages", action="store_true", help="the middle folder is a video, no language"
    )
    args = parser.parse_args()
    manifest = scan(args.root, language_folder=not args.no_languages)
    parts = {args.out: manifest}
    if args.calib:
        rest, held_out = hold_out(manifest, args.calib_speakers, args.seed)
        # The folder that others look for comes last.
        parts = {args.calib: held_out, args.out: rest}
    for folder, part in parts.items():
        part.write(folder)
        hours = part.table["seconds"].sum() / 3600
        languages = part.table["language"].n_unique()
        print(
            f"{folder}: {len(part.speakers()):,} speakers, {len(part):,} utterances, "
            f"{hours:.2f} h" + ("" if args.no_languages else f", {languages} languages")
        )


if __name__ == "__main__":
    with one_line_errors():
        main()
