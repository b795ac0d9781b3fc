"""The command ``tidyvoice``. Each command imports what it needs, so that ``--help`` is quick."""

import os
import sys

from tidyvoice.cli import (  # noqa: F401
    audio,
    challenge,
    data,
    demo,
    doctor,
    evaluation,
    export,
    hub,
    models,
    runs,
    scores,
    training,
)
from tidyvoice.cli.app import app

# `--fit A B` instead of `--fit A --fit B`, for the options that take score files of systems.
SEVERAL = ("--fit", "--apply")


def main() -> None:
    """Entry point."""
    # Before torch is loaded: OpenMP threads that wait for each other spin for a moment, then sleep.
    # One training process on two cores trained on 94 utterances a second, and on 43 beside a busy
    # program; threads that sleep at once reach 65 and 31, and ten times as long spins 101 and 22.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    app(spread(sys.argv[1:]))


def spread(arguments: list[str]) -> list[str]:
    """Repeat an option of ``SEVERAL`` before each further value after it."""
    done: list[str] = []
    option = None
    for word in arguments:
        if word.startswith("-"):
            option = word if word in SEVERAL else None
        elif option and done[-1] != option:
            done.append(option)
        done.append(word)
    return done
