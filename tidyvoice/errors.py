"""Errors that a user can mend, and how a command reports them: one line, non-zero exit status."""

import errno
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

INTERRUPTED = 130  # 128 + SIGINT, what shells expect of an interrupted command


class TidyVoiceError(Exception):
    """A mistake in the input. Its text is one line: the file, the line or key, and the fix."""


class NotFiniteError(TidyVoiceError):
    """A row of a batch, which only the caller can name, has an embedding that is not finite."""

    def __init__(self, row: int, message: str):
        super().__init__(message)
        self.row = row


class TidyVoiceWarning(UserWarning):
    """Something in the input that may be a mistake; a command says it in one line and goes on."""


def summarise(problems: Sequence[str], limit: int = 10) -> str:
    """One line for many problems: the first ``limit`` of them and how many more there are."""
    shown = "; ".join(problems[:limit])
    rest = len(problems) - limit
    return f"{shown}; and {rest:,} more" if rest > 0 else shown


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *rest: object
) -> None:
    """Print a warning; ours names its place in the input, any other its place in the code."""
    where = "" if issubclass(category, TidyVoiceWarning) else f"{filename}:{lineno}: "
    kind = "warning" if issubclass(category, TidyVoiceWarning) else category.__name__
    sys.stderr.write(f"{where}{kind}: {message}\n")


def _stop(message: object) -> NoReturn:
    # The processes of a training share stderr, and print() and sys.exit() write the end of the
    # line separately: lines of two processes would mix.
    sys.stderr.write(f"error: {message}\n")
    sys.exit(1)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn what a user can cause into one line on stderr and an exit status.

    Bad input exits with 1, Ctrl-C and SIGTERM with 130. Anything else is a defect of ours and
    keeps its traceback.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    warnings.showwarning = _show_warning
    try:
        yield
    except TidyVoiceError as error:
        _stop(error)
    except KeyboardInterrupt:
        if os.environ.get("RANK", "0") == "0":  # one of the processes speaks for all
            said = "interrupted: finished work is kept; run the same command again to resume"
            sys.stderr.write(f"\n{said}\n")
        sys.exit(INTERRUPTED)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        # polars gives the number in the text only.
        if error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
            _stop(f"the disk is full{where}; free some space, then run the same command again")
        _stop(f"{error.strerror or error}{where}")
