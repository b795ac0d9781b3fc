"""TidyVoiceX, the corpus of the TidyVoice 2026 challenge (from Common Voice).

3,666 speakers, 370 hours, 40 languages for training; 808 speakers, 87 hours for development.
Layout: ``TidyVoiceX_ASV/TidyVoiceX_{Train,Dev}/SPEAKER/LANGUAGE/FILE.wav``
(``id011210/en/en_40387752.wav``), 16 kHz mono PCM16. Any corpus laid out so is prepared in the same
way, whatever folders are above the speakers.

    python -m local.tidyvoice --root corpus/TidyVoiceX_ASV/TidyVoiceX_Train --out data/finetune \\
        --calib data/calib --calib-speakers 10

writes the data folder ``data/finetune`` and holds some speakers out of it, drawn by ``--seed``, in
``data/calib``: nothing is ever trained on them, so that a checkpoint or a calibration can be
chosen there.

    python -m local.tidyvoice --archive TidyVoiceX_Dev.tar.gz \\
        --root corpus/TidyVoiceX_ASV/TidyVoiceX_Dev --out data/dev

unpacks the archive first. ``--download corpus`` fetches it from the Mozilla Data Collective (with
your key in MDC_API_KEY and the extra ``download``) and unpacks it to corpus/TidyVoiceX_ASV.
Without --out it stops there.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from local.collective import fetch_dataset
from local.recordings import UNFIT, by_root, find_recordings, inspected, manifest_of
from local.sources import add_source, parser_of, provide
from tidyvoice.data.manifest import Manifest
from tidyvoice.errors import TidyVoiceError, one_line_errors

DATASET = "cmihtsewu023so207xot1iqqw"
FOLDER = "TidyVoiceX_ASV"


def hold_out(manifest: Manifest, count: int, seed: int) -> tuple[Manifest, Manifest]:
    """Split by speaker: the rest, and ``count`` speakers drawn by ``seed``."""
    speakers = manifest.speakers()
    if not 0 < count < len(speakers):
        raise TidyVoiceError(
            f"--calib-speakers {count}: give a number between 0 and the corpus' {len(speakers)}"
        )
    drawn = set(np.random.default_rng(seed).permutation(speakers)[:count].tolist())
    return manifest.select(set(speakers) - drawn), manifest.select(drawn)


def read_corpus(root: Path, languages: bool) -> Manifest:
    """What is below ``root``, or below the one folder in it that holds speakers.

    Raises:
        TidyVoiceError: there is no SPEAKER/FOLDER/FILE.wav, or it is below several folders; a name
            holds white space.
    """
    found = find_recordings(root)
    found.tell_hidden()
    roots = by_root(found)
    # Given the folder of the speakers itself, a file too deep or not deep enough is a stray one.
    below = "." if "." in roots else next(iter(roots), None)
    if below is None:
        raise TidyVoiceError(f"{root} holds no SPEAKER/FOLDER/FILE.wav: is it the root?")
    if below != "." and len(roots) > 1:
        several = ", ".join(
            f"{root / name} ({len(files):,} files)" for name, files in roots.items()
        )
        raise TidyVoiceError(f"{root} holds several corpora: give one as --root: {several}")
    names = roots[below]
    if len(names) < len(found.names):
        chosen = {name if below == "." else f"{below}/{name}" for name in names}
        strays = [name for name in found.names if name not in chosen]
        print(f"{root}: {len(strays):,} files elsewhere than SPEAKER/FOLDER: {strays[0]} ..")
    return manifest_of(root if below == "." else root / below, names, languages)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare the corpus; ``arguments`` are those of the command line unless given."""
    parser = parser_of("python -m local.tidyvoice", __doc__, "TidyVoiceX")
    add_source(
        parser,
        root="folder that holds the speakers, or one above it",
        download=f"fetch it from the Mozilla Data Collective, unpack it to DIR/{FOLDER}",
    )
    parser.add_argument("--dataset", default=DATASET, help="its id there (%(default)s)")
    parser.add_argument(
        "--subset", help="folder below --root or --download that holds the speakers"
    )
    parser.add_argument("--out", type=Path, help="data folder to write")
    parser.add_argument("--calib", type=Path, help="data folder of the held-out speakers")
    parser.add_argument("--calib-speakers", type=int, default=0, help="how many to hold out")
    parser.add_argument("--seed", type=int, default=1, help="which speakers are held out")
    parser.add_argument(
        "--no-languages", action="store_true", help="the middle folder is a video, no language"
    )
    parser.add_argument(
        "--drop-unfit",
        action="store_true",
        help="leave out files that are empty, cut short, no audio or not at 16 kHz, and list them "
        "in OUT/unfit.txt, rather than refuse them",
    )
    args = parser.parse_args(arguments)
    if not (args.out or args.archive or args.download):
        raise TidyVoiceError("--out: give the data folder to write")
    if args.calib_speakers and not args.calib:
        raise TidyVoiceError("--calib-speakers: give --calib, the data folder that they go to")
    root = provide(args, FOLDER, lambda folder: fetch_dataset(args.dataset, folder))
    if args.out:
        write_data(args, root / args.subset if args.subset else root)


def write_data(args: argparse.Namespace, root: Path) -> None:
    """Write the data folders of the command line from a corpus on the disk."""
    manifest = read_corpus(root, not args.no_languages)
    (args.out / UNFIT).unlink(missing_ok=True)
    drop_to = args.out if args.drop_unfit else None
    manifest = inspected(manifest, drop_to, mend="; --drop-unfit leaves them out")
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
