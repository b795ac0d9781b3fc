"""Rename a folder to NAME.1, NAME.2, ...: ``python -m local.aside exp/mini/finetune``."""

import sys
from itertools import count
from pathlib import Path

from tidyvoice.errors import TidyVoiceError, one_line_errors
from tidyvoice.files import only_writer


def main(folder: Path) -> None:
    """Give the folder the first name that is free, unless another process is writing in it."""
    if not folder.is_dir():  # only_writer would create it
        raise TidyVoiceError(f"{folder} is no folder: check its name")
    with only_writer(folder):
        names = (folder.with_name(f"{folder.name}.{number}") for number in count(1))
        free = next(name for name in names if not name.exists())
        new = folder.rename(free)
    print(f"  {folder} is kept as {new}; leave out --force to resume after an interruption")


if __name__ == "__main__":
    with one_line_errors():
        main(Path(sys.argv[1]))
