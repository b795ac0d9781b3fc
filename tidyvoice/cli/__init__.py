"""The command ``tidyvoice``. Each command imports what it needs, so that ``--help`` is quick."""

import os
import sys

import typer

from tidyvoice.cli import audio, data, evaluation, models, scores, training  # noqa: F401
from tidyvoice.cli.common import app

SEVERAL = ("--fit", "--apply", "--embeddings", "--method", "--dimensions")


def main() -> None:
    """Entry point."""
    # Before torch is loaded: OpenMP threads that wait for each other spin for a moment, then sleep.
    # On two cores, a training took 94 utterances a second, and 43 beside a busy program. Threads
    # that sleep at once take 65 and 31; threads that spin ten times as long take 101 and 22.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    app(spread(sys.argv[1:]))


def spread(arguments: list[str]) -> list[str]:
    """Let `--fit A B` mean `--fit A --fit B`; so for SEVERAL, where a command may repeat them."""
    command = typer.main.get_command(app).commands.get("".join(arguments[:1]))
    options = command.params if command else ()
    repeatable = {name for option in options if option.multiple for name in option.opts}
    repeatable &= {*SEVERAL}
    done, option = [], None
    for word in arguments:
        if word.startswith("-"):
            option = word if word in repeatable else None
        elif option and done[-1] != option:
            done.append(option)
        done.append(word)
    return done
