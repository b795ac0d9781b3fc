"""The command ``tidyvoice``. Each command imports what it needs, so that ``--help`` is quick."""

import os
import sys

from tidyvoice.cli import (
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

__all__ = [
    "app",
    "audio",
    "challenge",
    "data",
    "demo",
    "doctor",
    "evaluation",
    "export",
    "hub",
    "main",
    "models",
    "runs",
    "scores",
    "spread",
    "training",
]

# `--fit A B` instead of `--fit A --fit B`, for the options that take score files of systems.
SEVERAL = ("--fit", "--apply")


def main() -> None:
    """Entry point."""
    # Before torch is loaded. Threads that wait by spinning make it several times slower as soon as
    # another program wants a core; waiting asleep costs an idle machine 7 %.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
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
