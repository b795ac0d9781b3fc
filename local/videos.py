"""Common code of VoxCeleb2 and VoxBlink2: videos laid out as SPEAKER/VIDEO/UTTERANCE, m4a or WAV.

Preparation converts nothing: the data folder lists the files, and `tidyvoice shards` decodes each
once, with ffmpeg where it is m4a, into 16 kHz PCM; it leaves out and lists the files that cannot be
decoded.

A corpus of many million files is divided by speaker into parts, each a data folder of its own
(OUT/part-003-of-016), so that a process holds only one part in memory. Training reads OUT with all
its parts, and reports missing ones.
"""

from local.sources import parser_of, print_terms, refuse_corpus
from tidyvoice.data.manifest import parse_part, part_folder, scan
from tidyvoice.errors import one_line_errors

ENDINGS = (".m4a", ".wav")


def prepare(
    module: str, description: str | None, terms: str, below: str, parts: int, prefix: str
) -> None:
    """Run the command line that turns a corpus of videos into a data folder, or its parts.

    Args:
        below: the folder of the speakers below the one that the corpus is unpacked to.
        parts: number of parts, unless ``--part`` names one.
        prefix: default prefix of speakers and utterances.
    """
    root_help = f"folder of the speakers, or the one with {below}"
    parser = parser_of(module, description, terms, root_help)
    parser.add_argument(
        "--prefix", default=prefix, help="put before speakers and ids (default: '%(default)s')"
    )
    parser.add_argument("--part", help="make only this part: 3/16, for an array of jobs")
    args = parser.parse_args()
    with one_line_errors():
        refuse_corpus(args.root, args.out)
        print_terms(args, args.root)
        root = args.root / below if (args.root / below).is_dir() else args.root
        every = [(number, parts) for number in range(1, parts + 1)]
        for number, count in [parse_part(args.part)] if args.part else every:
            folder = part_folder(args.out, number, count)
            manifest = scan(root, False, ENDINGS, (number, count), args.prefix)
            manifest.write(folder, args.terms)
            speakers = len(manifest.speakers())
            print(f"{folder}: {speakers:,} speakers, {len(manifest):,} utterances", flush=True)
