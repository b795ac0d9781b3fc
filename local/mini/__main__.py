"""Command line: ``python -m local.mini --config conf/mini/corpus.yaml --out data/mini/corpus``."""

import argparse
import os
from pathlib import Path

from local.mini.corpus import make
from local.mini.settings import Settings
from tidyvoice.errors import TidyVoiceError, one_line_errors
from tidyvoice.settings import load_settings


def main() -> None:
    """Make the corpus."""
    parser = argparse.ArgumentParser(
        prog="python -m local.mini",
        description="Make the built-in corpus of synthetic speakers; needs the extra mini.",
        epilog="Example, a corpus of a few seconds: python -m local.mini --out /tmp/tiny "
        "pretrain.speakers=4 train.speakers=4 dev.speakers=4. Run it again to resume after an "
        "interruption.",
    )
    parser.add_argument("--config", default="conf/mini/corpus.yaml", help="settings [%(default)s]")
    parser.add_argument("--out", required=True, type=Path, help="folder of the corpus")
    parser.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        help="processes at a time; the bytes do not depend on it [%(default)s]",
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. dev.speakers=6")
    arguments = parser.parse_intermixed_args()
    if arguments.jobs < 1:
        raise TidyVoiceError(f"--jobs {arguments.jobs}: must be at least 1")
    settings = load_settings(Settings, arguments.config, arguments.overrides)
    make(settings, arguments.out, arguments.jobs)


if __name__ == "__main__":
    with one_line_errors():
        main()
