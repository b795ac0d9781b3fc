"""The command ``tidyvoice``. Each command imports what it needs, so that ``--help`` is quick."""

import os
import sys

from tidyvoice.cli import (
    audio,
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
    # Before torch is loaded: OpenMP threads that wait for each other spin for a moment, then sleep.
    # Measured with one training process of two threads on two cores of an AMD EPYC with AVX-512
    # (4 planes): 94 utterances a second, and 43 beside a program that keeps one core busy. Threads
    # that sleep at once (OMP_WAIT_POLICY=passive) reach 65 and 31, threads that spin ten times as
    # long 101 and 22. On an EPYC with AVX2 the settings do not differ beyond noise (58 to 75).
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
