"""Shared parts of the corpora's commands: options, terms of use, unpacking, trial lists."""

import argparse
import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

from local import mini
from tidyvoice import archives
from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import UNUSABLE
from tidyvoice.scoring.trials import Trials


def parser_of(
    module: str, description: str | None, terms: str = "", root: str = ""
) -> argparse.ArgumentParser:
    """Make the parser of ``local.MODULE``, whose help is its docstring, then its terms.

    With ``root``, the help of --root, the parser has the options --root and --out.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m local.{module}",
        description=description,
        epilog=terms and textwrap.fill(f"Licence: {terms}", 100),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(terms=terms)
    if root:
        parser.add_argument("--root", type=Path, required=True, help=root)
        parser.add_argument("--out", type=Path, required=True, help="data folder to write")
    if name := next(filter(UNUSABLE.search, sys.argv), None):
        parser.error(f"{name!r}: give a name of one line in UTF-8")
    return parser


def print_terms(args: argparse.Namespace, root: Path) -> None:
    """Print ``args.terms``; those of the built-in corpus if ``root`` is a folder of it."""
    folders = (root, *root.absolute().parents)
    if any((folder / mini.MARKER).is_file() for folder in folders):
        args.terms = mini.TERMS
    print(args.terms, flush=True)


def unpack(root: Path, fetch: Callable[[], Path]) -> None:
    """Unpack the archive that ``fetch`` returns to ``root``, unless something is there."""
    if root.is_dir() and any(root.iterdir()):
        print(f"{root} exists already, nothing is unpacked", flush=True)
        return
    archive = fetch()
    print(f"{archive}: unpacking to {root}", flush=True)
    archives.unpack(archive, root)


def refuse_corpus(root: Path, *outputs: Path | None) -> None:
    """Refuse data folders that are the corpus, contain it, or are given twice."""
    folders = [os.path.realpath(path) for path in outputs if path]
    corpus = Path(os.path.realpath(root))
    for out in folders:
        if Path(out) in (corpus, *corpus.parents) or folders.count(out) > 1:
            raise TidyVoiceError(f"{out} is the corpus, holds it, or is given twice: give another")


def describe(trials: Trials) -> str:
    """Return the number of trials of each kind, and of utterances."""
    kinds = "without labels"
    if trials.label is not None:
        targets = int(trials.label.sum())
        kinds = f"{targets:,} target, {len(trials) - targets:,} non-target"
    return f"{len(trials):,} trials, {kinds}, over {len(trials.ids):,} utterances"
