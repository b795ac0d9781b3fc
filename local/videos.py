"""Common code of VoxCeleb2 and VoxBlink2: videos laid out as SPEAKER/VIDEO/UTTERANCE, m4a or WAV.

Preparation converts nothing: the data folder lists the files, and `tidyvoice shards` decodes each
once, with ffmpeg where it is m4a, into 16 kHz PCM; it leaves out and lists the files that cannot be
decoded.

A corpus of many million files is divided by speaker into parts, each a data folder of its own
(OUT/part-003-of-016), so that a process holds only one part in memory. Training reads OUT with all
its parts, and reports missing ones.
"""

import argparse
from pathlib import Path

from local.sources import parser_of, print_terms
from tidyvoice.data.manifest import parse_part, part_folder, scan
from tidyvoice.errors import one_line_errors

ENDINGS = (".m4a", ".wav")


def prepare(prog: str, description: str, terms: str, below: str, parts: int, prefix: str) -> None:
    """Run the command line that turns a corpus of videos into a data folder, or its parts.

    Args:
        below: the folder of the speakers below the one that the corpus is unpacked to.
        parts: default number of parts.
        prefix: default prefix of speakers and utterances.
    """
    parser = parser_of(prog, description, terms)
    parser.add_argument(
        "--root", type=Path, required=True, help=f"folder of the speakers, or the one with {below}"
    )
    parser.add_argument("--out", type=Path, required=True, help="data folder to write")
    parser.add_argument(
        "--prefix", default=prefix, help="put before speakers and ids (default: '%(default)s')"
    )
    division = parser.add_mutually_exclusive_group()
    division.add_argument(
        "--parts", type=_count, default=parts, help="number of parts to make (%(default)s)"
    )
    division.add_argument("--part", help="make only this part: 3/16, for an array of jobs")
    args = parser.parse_args()
    with one_line_errors():
        print_terms(args, args.root)
        root = args.root / below if (args.root / below).is_dir() else args.root
        every = [(number, args.parts) for number in range(1, args.parts + 1)]
        for number, count in [parse_part(args.part)] if args.part else every:
            folder = part_folder(args.out, number, count)
            manifest = scan(root, False, ENDINGS, (number, count), args.prefix)
            manifest.write(folder, args.terms)
            speakers = len(manifest.speakers())
            print(f"{folder}: {speakers:,} speakers, {len(manifest):,} utterances", flush=True)


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return int(text)
