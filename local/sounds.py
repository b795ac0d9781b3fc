"""Common code of MUSAN and RIRS_NOISES: collections of sounds, laid out as KIND/SOURCE/FILE.wav."""

from pathlib import Path

from local.fetch import download
from local.sources import parser_of, print_terms, refuse_corpus, unpack
from tidyvoice.data.manifest import scan
from tidyvoice.errors import TidyVoiceError, one_line_errors


def prepare(
    module: str,
    description: str | None,
    terms: str,
    kinds: tuple[str, ...],
    folder: str,
    url: str,
    md5: str,
) -> None:
    """Run the command line that turns a collection of ``kinds`` into a data folder.

    Args:
        folder: the folder that the archive at ``url`` is unpacked to.
    """
    name = url.rpartition("/")[2]
    parser = parser_of(module, description, terms)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--root", type=Path, help="folder of the kinds, or one above it")
    source.add_argument(
        "--download",
        type=Path,
        metavar="DIR",
        help=f"fetch {name} to DIR and unpack it to DIR/{folder}",
    )
    parser.add_argument("--url", default=url, help="where to fetch it (%(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="data folder to write")
    args = parser.parse_args()

    def fetch() -> Path:
        download(args.url, args.download / name, md5)
        return args.download / name

    with one_line_errors():
        root = args.root or args.download / folder
        refuse_corpus(root, args.out)
        print_terms(args, root)
        if args.download:
            unpack(root, fetch)
        manifest = scan(_folder_of(root, kinds), language_folder=False).select(kinds)
        manifest.write(args.out, args.terms)
        print(f"{args.out}: {len(manifest):,} files, {manifest.table['seconds'].sum():.0f} s")


def _folder_of(root: Path, kinds: tuple[str, ...]) -> Path:
    """Return the folder that contains the kinds: ``root``, or one up to two levels below."""
    for folder in (root, *sorted(root.glob("*/")), *sorted(root.glob("*/*/"))):
        if all((folder / kind).is_dir() for kind in kinds):
            return folder
    raise TidyVoiceError(f"{root} contains no folders {', '.join(kinds)}. Give --root")
