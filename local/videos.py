"""What the corpora of videos share: SPEAKER/VIDEO/UTTERANCE, m4a or WAV, too many to hold at once.

Nothing is converted: the data folder lists the files as they are, and `tidyvoice shards` decodes
each once, with ffmpeg where it is m4a, into 16 kHz PCM. Files that cannot be decoded are left out
and listed there.

A corpus of many million files is divided by speaker into parts, each a data folder of its own
(OUT/part-003-of-016), which only one process at a time needs to hold. Training takes OUT, and finds
all of its parts or says which is missing.
"""

import argparse
from pathlib import Path

from local.sources import parser_of
from tidyvoice.data.manifest import parse_part, part_folder, scan
from tidyvoice.errors import one_line_errors

ENDINGS = (".m4a", ".wav")


def prepare(prog: str, description: str, corpus: str, below: str, parts: int, prefix: str) -> None:
    """Command line that turns a corpus of videos into a data folder, or the parts of one.

    Args:
        corpus: key of ``TERMS``.
        below: the folder of the speakers below the one that the corpus is unpacked to.
        parts: how many there are unless the command line says otherwise.
        prefix: of speakers and utterances, unless the command line says otherwise.
    """
    parser = parser_of(prog, description, corpus)
    parser.add_argument(
        "--root", type=Path, required=True, help=f"folder of the speakers, or the one with {below}"
    )
    parser.add_argument("--out", type=Path, required=True, help="data folder to write")
    parser.add_argument(
        "--prefix", default=prefix, help=f"put before speakers and ids (default: '{prefix}')"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--parts", type=number_of_parts, default=parts, help=f"how many, one by one ({parts})"
    )
    how.add_argument("--part", help="only one of them: 3/16, as an array of jobs would")
    args = parser.parse_args()
    with one_line_errors():
        print(args.terms, flush=True)
        root = args.root / below if (args.root / below).is_dir() else args.root
        chosen = [parse_part(args.part)] if args.part else _all(args.parts)
        for number, count in chosen:
            folder = part_folder(args.out, number, count)
            manifest = scan(
                root,
                language_folder=False,
                endings=ENDINGS,
                part=(number, count),
                prefix=args.prefix,
            )
            manifest.write(folder)
            print(
                f"{folder}: {len(manifest.speakers()):,} speakers, {len(manifest):,} utterances",
                flush=True,
            )


def number_of_parts(text: str) -> int:
    """Raises: argparse.ArgumentTypeError: it is no number above 0."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is no number above 0")
    return int(text)


def _all(parts: int) -> list[tuple[int, int]]:
    return [(number, parts) for number in range(1, parts + 1)]
