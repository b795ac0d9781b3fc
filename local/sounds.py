"""Common code of MUSAN and RIRS_NOISES: collections of sounds, laid out as KIND/SOURCE/FILE.wav."""

from collections.abc import Sequence
from pathlib import Path

from local.sources import Remote, add_source, parser_of, provide
from tidyvoice.data.manifest import scan
from tidyvoice.errors import TidyVoiceError, one_line_errors


def prepare(
    prog: str,
    description: str | None,
    terms: str,
    kinds: tuple[str, ...],
    folder: str,
    remote: Remote,
    arguments: Sequence[str] | None = None,
) -> None:
    """Run the command line that turns a collection of ``kinds`` into a data folder.

    Args:
        folder: the folder that the archive ``remote`` is unpacked to.
        arguments: those of the command line unless given.
    """
    parser = parser_of(prog, description, terms)
    add_source(
        parser,
        root="folder that contains the kinds, or one above it",
        download=f"fetch {remote.file} to DIR and unpack it to DIR/{folder}",
    )
    parser.add_argument("--url", help=f"fetch it from this folder instead of {remote.url}")
    parser.add_argument("--out", type=Path, help="data folder to write")
    args = parser.parse_args(arguments)
    with one_line_errors():
        if args.url and not args.download:
            raise TidyVoiceError("--url: give --download, too")
        if not (args.out or args.archive or args.download):
            raise TidyVoiceError("--out: give the data folder to write")
        root = provide(args, folder, lambda target: remote.fetch(target, args.url))
        if args.out is None:
            return
        manifest = scan(_folder_of(root, kinds), language_folder=False).select(kinds)
        manifest.write(args.out, args.terms)
        print(f"{args.out}: {len(manifest):,} files, {manifest.table['seconds'].sum():.0f} s")


def _folder_of(root: Path, kinds: tuple[str, ...]) -> Path:
    """Return the folder that contains the kinds: ``root``, or one up to two levels below."""
    for folder in (root, *sorted(root.glob("*/")), *sorted(root.glob("*/*/"))):
        if all((folder / kind).is_dir() for kind in kinds):
            return folder
    absent = [str(root / kind) for kind in kinds if not (root / kind).is_dir()]
    raise TidyVoiceError(f"missing: {', '.join(absent)}. Give the folder of the kinds as --root")
