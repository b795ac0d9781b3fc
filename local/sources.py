"""Options of the corpus commands that say where a corpus comes from.

``--root`` is the folder of a corpus; with ``--archive`` that archive is unpacked to it first; with
``--download DIR`` the archive is downloaded to DIR, and unpacked to a folder there.
"""

import argparse
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from local.archives import extract
from local.fetch import download
from tidyvoice.errors import TidyVoiceError
from tidyvoice.terms import TERMS


@dataclass(frozen=True)
class Remote:
    """A public file on a server.

    Attributes:
        url: the folder on the server.
        file: its name there, and here.
        md5: its checksum; None where none is published.
    """

    url: str
    file: str
    md5: str | None = None

    def fetch(self, folder: Path, url: str | None = None) -> Path:
        """Download it to ``folder`` (from the mirror ``url`` if given); return its path.

        Raises:
            TidyVoiceError: see ``local.fetch.download``.
        """
        path = folder / self.file
        download(f"{(url or self.url).rstrip('/')}/{self.file}", path, md5=self.md5)
        return path


def parser_of(
    prog: str, description: str | None, corpus: str | None = None
) -> argparse.ArgumentParser:
    """Make a parser of a command line whose help is the docstring of its module.

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


def provide(args: argparse.Namespace, folder: str, fetch: Callable[[Path], Path] | None) -> Path:
    """Print the terms of the corpus; download and unpack it if asked to; return its root.

    Args:
        folder: name of the root below ``--download``.
        fetch: downloads the archive to a folder and returns its path.

    Raises:
        TidyVoiceError: options that exclude each other; see ``extract`` and ``download``.
    """
    target = args.download if fetch else None
    if target and (args.root or args.archive):
        raise TidyVoiceError("--download: leave --root and --archive out")
    if not (target or args.root):
        also = ", or --download DIR" if fetch else ""
        raise TidyVoiceError(f"--root: give the folder of the corpus{also}")
    print(args.terms, flush=True)
    root = target / folder if target else args.root
    if not (target or args.archive):
        return root
    if root.is_dir() and any(root.iterdir()):
        print(f"{root} is there already, nothing is unpacked", flush=True)
    else:
        archive = fetch(target) if target else args.archive
        extract(archive, root)
        print(f"{root}: unpacked {archive.name}", flush=True)
    return root
