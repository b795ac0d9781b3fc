"""TidyVoiceX, the corpus of the TidyVoice 2026 challenge (from Common Voice).

3,666 speakers, 370 hours, 40 languages for training; 808 speakers, 87 hours for development.
Layout: ``TidyVoiceX_ASV/TidyVoiceX_{Train,Dev}/SPEAKER/LANGUAGE/FILE.wav``
(``id011210/en/en_40387752.wav``), 16 kHz mono PCM16. The command prepares any corpus of this
layout, whatever folders are above the speakers.

    python -m local.tidyvoice --root corpus/TidyVoiceX_ASV/TidyVoiceX_Train --out data/finetune \\
        --calib data/calib --calib-speakers 10

writes the data folder ``data/finetune`` and holds out some speakers, drawn by ``--seed``, in
``data/calib``. No training uses them, so that a checkpoint or a calibration can be chosen there.

    python -m local.tidyvoice --archive TidyVoiceX_Dev.tar.gz \\
        --root corpus/TidyVoiceX_ASV/TidyVoiceX_Dev --out data/dev

unpacks the archive first. ``--download corpus`` downloads it from the Mozilla Data Collective (with
your key in MDC_API_KEY and the extra ``download``) and unpacks it to corpus/TidyVoiceX_ASV.
Without --out, the command stops after unpacking.
"""

from pathlib import Path

import numpy as np

from local.fetch import fetch_dataset
from local.sources import parser_of, print_terms, refuse_corpus, unpack
from tidyvoice.data.manifest import Manifest, find_audio, of_layout
from tidyvoice.errors import TidyVoiceError, one_line_errors

TERMS = (
    "TidyVoiceX and TidyVoiceX2 are made from Common Voice, which is CC0. The terms of all three "
    "forbid determining who a speaker is."
)
DATASET = "cmihtsewu023so207xot1iqqw"
FOLDER = "TidyVoiceX_ASV"


def hold_out(manifest: Manifest, count: int, seed: int) -> tuple[Manifest, Manifest]:
    """Split by speaker: the rest, and ``count`` speakers drawn by ``seed``."""
    speakers = manifest.speakers()
    if not 0 < count < len(speakers):
        raise TidyVoiceError(
            f"--calib-speakers {count}: give a number from 1 to {len(speakers) - 1}, since the "
            f"corpus has {len(speakers)} speakers"
        )
    drawn = set(np.random.default_rng(seed).permutation(speakers)[:count].tolist())
    return manifest.select(set(speakers) - drawn), manifest.select(drawn)


def read_corpus(root: Path) -> Manifest:
    """Return the utterances below ``root``, or below the one folder in it that holds speakers."""
    names = find_audio(root)
    # The folders that could contain the speakers; "" is the root itself.
    above = [name.rsplit("/", 3)[0] if name.count("/") > 2 else "" for name in names]
    at_root = any(name.count("/") == 2 for name in names)
    folders = [""] if at_root else sorted(set(above) - {""})
    if len(folders) > 1:
        several = ", ".join(f"{root / name} ({above.count(name):,} files)" for name in folders)
        raise TidyVoiceError(f"{root} holds several corpora. Give one as --root: {several}")
    if folders and folders[0]:
        root, prefix = root / folders[0], f"{folders[0]}/"
        names = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    return of_layout(root, names, language_folder=True)


def main() -> None:
    """Prepare the corpus."""
    parser = parser_of("tidyvoice", __doc__, TERMS)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--root", type=Path, help="folder of the speakers, or one above it")
    source.add_argument(
        "--download",
        type=Path,
        metavar="DIR",
        help=f"fetch it from the Mozilla Data Collective, unpack it to DIR/{FOLDER}",
    )
    parser.add_argument("--archive", type=Path, help="unpack this to --root first")
    parser.add_argument("--dataset", default=DATASET, help="its id there (%(default)s)")
    parser.add_argument("--out", type=Path, help="data folder to write")
    parser.add_argument("--calib", type=Path, help="data folder of the held-out speakers")
    parser.add_argument("--calib-speakers", type=int, default=0, help="number of them")
    parser.add_argument("--seed", type=int, default=1, help="seed that draws them (%(default)s)")
    parser.add_argument(
        "--drop-unfit",
        action="store_true",
        help="leave out files that are empty, cut short, not audio or not at 16 kHz, and list them "
        "in OUT/unfit.txt, instead of refusing the corpus",
    )
    args = parser.parse_args()
    if not (args.out or args.archive or args.download):
        raise TidyVoiceError("--out: give the data folder to write")
    if args.calib_speakers and not args.calib:
        raise TidyVoiceError("--calib-speakers: give --calib, the data folder for them")
    if args.seed < 0:
        raise TidyVoiceError(f"--seed {args.seed}: give 0 or a greater number")
    root = args.root or args.download / FOLDER
    refuse_corpus(root, args.out, args.calib)
    if args.calib and args.calib_speakers < 1:
        raise TidyVoiceError("--calib: give --calib-speakers, the number of them, 1 or more")
    print_terms(args, root)
    if args.download or args.archive:
        unpack(root, lambda: args.archive or fetch_dataset(args.dataset, args.download))
    if args.out is None:
        return
    unfit = args.out / "unfit.txt"
    unfit.unlink(missing_ok=True)
    manifest = read_corpus(root).measured(
        unfit if args.drop_unfit else None, advice="; --drop-unfit leaves them out"
    )
    parts = {args.out: manifest}
    if args.calib:
        rest, held_out = hold_out(manifest, args.calib_speakers, args.seed)
        parts = {args.calib: held_out, args.out: rest}  # the recipe looks for --out
    for folder, part in parts.items():
        part.write(folder, args.terms)
        print(
            f"{folder}: {len(part.speakers()):,} speakers, {len(part):,} utterances, "
            f"{part.table['seconds'].sum() / 3600:.2f} h, "
            f"{part.table['language'].n_unique()} languages"
        )


if __name__ == "__main__":
    with one_line_errors():
        main()
