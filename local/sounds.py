"""What the collections of noise and of impulse responses share: KIND/SOURCE/FILE.wav."""

import argparse
from pathlib import Path

from tidyvoice.errors import TidyVoiceError, one_line_errors
from tidyvoice.manifest import scan


def prepare(prog: str, description: str, kinds: tuple[str, ...]) -> None:
    """Command line that turns a collection of ``kinds`` into a data folder."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--root", type=Path, required=True, help="folder that holds the kinds")
    parser.add_argument("--out", type=Path, required=True, help="data folder to write")
    args = parser.parse_args()
    with one_line_errors():
        absent = [str(args.root / kind) for kind in kinds if not (args.root / kind).is_dir()]
        if absent:
            raise TidyVoiceError(f"missing: {', '.join(absent)}: give the folder of the kinds")
        manifest = scan(args.root, language_folder=False).select(kinds)
        manifest.write(args.out)
        print(f"{args.out}: {len(manifest):,} files, {manifest.table['seconds'].sum():.0f} s")
