"""Options that the corpus commands share: where a corpus comes from, and its terms.

``--root`` is the folder of a corpus; with ``--archive`` that archive is unpacked to it first; with
``--download DIR`` the archive is downloaded to DIR, and unpacked to a folder there.
"""

import argparse
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from local import mini
from local.archives import extract
from local.fetch import download
from tidyvoice.errors import TidyVoiceError


@dataclass(frozen=True)
class Remote:
    """Public file on a server.

    Attributes:
        url: the folder on the server.
        file: its name on the server, and of the local copy.
        md5: its checksum; None where none is published.
    """

    url: str
    file: str
    md5: str | None = None

    def fetch(self, folder: Path, url: str | None = None) -> Path:
        """Download the file to ``folder`` (from the mirror ``url`` if given); return its path."""
        path = folder / self.file
        download(f"{(url or self.url).rstrip('/')}/{self.file}", path, md5=self.md5)
        return path


def parser_of(prog: str, description: str | None, terms: str = "") -> argparse.ArgumentParser:
    """Make the parser of a command whose help is the docstring of its module, then its terms."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog=terms and textwrap.fill(f"Licence: {terms}", 100),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(terms=terms)
    return parser


def add_source(parser: argparse.ArgumentParser, root: str, download: str | None = None) -> None:
    """Add ``--root``, ``--archive`` and, if there is something to ``download``, ``--download``."""
    parser.add_argument("--root", type=Path, help=root)
    parser.add_argument("--archive", type=Path, help="unpack this to --root first")
    if download:
        parser.add_argument("--download", type=Path, metavar="DIR", help=download)


def print_terms(args: argparse.Namespace, root: Path) -> None:
    """Print ``args.terms``; those of the built-in corpus if ``root`` is a folder of it."""
    folders = (root, *root.absolute().parents)
    if any((folder / mini.MARKER).is_file() for folder in folders):
        args.terms = mini.TERMS
    print(args.terms, flush=True)


def provide(args: argparse.Namespace, folder: str, fetch: Callable[[Path], Path] | None) -> Path:
    """Print the terms of the corpus, download and unpack it if needed, and return its root.

    Args:
        folder: name of the root below ``--download``.
        fetch: downloads the archive to a folder and returns its path.

    Raises:
        TidyVoiceError: options exclude each other; see ``extract`` and ``download``.
    """
    target = args.download if fetch else None
    if target and (args.root or args.archive):
        raise TidyVoiceError("--download: leave --root and --archive out")
    if not (target or args.root):
        also = ", or --download DIR" if fetch else ""
        raise TidyVoiceError(f"--root: give the folder of the corpus{also}")
    root = target / folder if target else args.root
    print_terms(args, root)
    if target or args.archive:
        if root.is_dir() and any(root.iterdir()):
            print(f"{root} exists already, nothing is unpacked", flush=True)
        else:
            archive = fetch(target) if target else args.archive
            print(f"{archive}: unpacking to {root}", flush=True)
            extract(archive, root)
            print(f"{root}: unpacked {archive.name}", flush=True)
    return root
