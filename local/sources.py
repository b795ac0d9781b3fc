"""Where a corpus comes from: the options that the commands share.

``--root`` is the folder of a corpus; with ``--archive`` that archive is unpacked to it first; with
``--download DIR`` the archive is fetched to DIR, and unpacked to a folder there.
"""

import argparse
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from local.archives import extract, extracted
from local.fetch import download
from tidyvoice.errors import TidyVoiceError
from tidyvoice.terms import TERMS


@dataclass(frozen=True)
class Remote:
    """A file that anyone can fetch.

    Attributes:
        url: the folder on the server.
        file: its name there, and here.
        md5: its checksum; None where none is published.
    """

    url: str
    file: str
    md5: str | None = None

    def fetch(self, folder: Path, url: str | None = None) -> Path:
        """Where it is in ``folder`` once it is there and whole; from the mirror ``url`` if given.

        Raises:
            TidyVoiceError: see ``local.fetch.download``.
        """
        path = folder / self.file
        download(f"{(url or self.url).rstrip('/')}/{self.file}", path, md5=self.md5)
        return path


def parser_of(
    prog: str, description: str | None, corpus: str | None = None
) -> argparse.ArgumentParser:
    """A command line whose help is the text of its module.

    Args:
        corpus: key of ``TERMS``: they end the help, and are printed when the corpus is prepared.
    """
    terms = TERMS[corpus] if corpus else None
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog=terms and textwrap.fill(f"Licence: {terms}", 100),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(terms=terms)
    return parser


def add_source(parser: argparse.ArgumentParser, root: str, download: str | None = None) -> None:
    """Add the options of a source.

    Args:
        root: what ``--root`` is.
        download: what is fetched; None where nothing can be.
    """
    parser.add_argument("--root", type=Path, help=root)
    parser.add_argument("--archive", type=Path, help="unpack this to --root first")
    if download:
        parser.add_argument("--download", type=Path, metavar="DIR", help=download)
    parser.add_argument(
        "--delete-archive", action="store_true", help="once all that is in it is unpacked"
    )


def provide(args: argparse.Namespace, folder: str, fetch: Callable[[Path], Path] | None) -> Path:
    """The root of the corpus, which is there when this returns; prints the terms.

    Args:
        folder: its name below ``--download``.
        fetch: puts the archive into a folder and gives its path.

    Raises:
        TidyVoiceError: options that do not go together; see ``extract`` and ``download``.
    """
    target = args.download if fetch else None
    if target and (args.root or args.archive):
        raise TidyVoiceError("--download: comes without --root and --archive")
    if not (target or args.root):
        also = ", or --download DIR" if fetch else ""
        raise TidyVoiceError(f"--root: give the folder of the corpus{also}")
    if args.delete_archive and not (target or args.archive):
        raise TidyVoiceError("--delete-archive: comes with --archive or --download")
    print(args.terms, flush=True)
    root = target / folder if target else args.root
    archive = args.archive
    if target:
        # Looked at first, so that nothing is fetched in vain.
        name = extracted(root)
        archive = target / name if name else fetch(target)
    if archive:
        files = extract(archive, root, args.delete_archive)
        print(f"{root}: {files:,} files from {archive.name}", flush=True)
    return root
