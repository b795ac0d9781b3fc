"""What the collections of noise and of impulse responses share: KIND/SOURCE/FILE.wav."""

from collections.abc import Sequence
from pathlib import Path

from local.sources import Remote, add_source, parser_of, provide
from tidyvoice.data.manifest import scan
from tidyvoice.errors import TidyVoiceError, one_line_errors


def prepare(
    prog: str,
    description: str | None,
    kinds: tuple[str, ...],
    folder: str,
    remote: Remote,
    arguments: Sequence[str] | None = None,
) -> None:
    """Command line that turns a collection of ``kinds`` into a data folder.

    Args:
        folder: what its archive is unpacked to, and its key in ``TERMS``.
        remote: the archive.
        arguments: those of the command line unless given.
    """
    parser = parser_of(prog, description, folder)
    add_source(
        parser,
        root="folder that holds the kinds, or one above it",
        download=f"fetch {remote.file} to DIR and unpack it to DIR/{folder}",
    )
    parser.add_argument("--url", help=f"another folder to fetch it from than {remote.url}")
    parser.add_argument("--out", type=Path, help="data folder to write")
    args = parser.parse_args(arguments)
    with one_line_errors():
        if args.url and not args.download:
            raise TidyVoiceError("--url: comes with --download")
        if not (args.out or args.archive or args.download):
            raise TidyVoiceError("--out: give the data folder to write")
        root = provide(args, folder, lambda target: remote.fetch(target, args.url))
        if args.out is None:
            return
        manifest = scan(_folder_of(root, kinds), language_folder=False).select(kinds)
        manifest.write(args.out)
        print(f"{args.out}: {len(manifest):,} files, {manifest.table['seconds'].sum():.0f} s")


def _folder_of(root: Path, kinds: tuple[str, ...]) -> Path:
    """The folder that holds the kinds: ``root``, or the first one up to two floors below."""
    for folder in (root, *sorted(root.glob("*/")), *sorted(root.glob("*/*/"))):
        if all((folder / kind).is_dir() for kind in kinds):
            return folder
    absent = [str(root / kind) for kind in kinds if not (root / kind).is_dir()]
    raise TidyVoiceError(f"missing: {', '.join(absent)}: give the folder of the kinds")
