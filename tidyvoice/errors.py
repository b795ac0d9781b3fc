"""Errors that a user can fix. Commands report them in one line with a non-zero exit status."""

import errno
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

LONGEST_LINE, LONGEST_REASON = 2000, 200  # letters
INTERRUPTED = 130  # 128 + SIGINT, the exit status that shells expect


class TidyVoiceError(Exception):
    """A user's mistake. The message is one line: the file, the line or key, and how to fix it."""


class NotFiniteError(TidyVoiceError):
    """An embedding that is not finite. The caller knows the utterance of ``row``."""

    def __init__(self, row: int, message: str):
        super().__init__(message)
        self.row = row


class TidyVoiceWarning(UserWarning):
    """A possible mistake in the input. Commands print it in one line and continue."""


def summarise(problems: Sequence[str], limit: int = 10) -> str:
    """Join the first ``limit`` problems in one line, with the number of others."""
    shown = "; ".join(problems[:limit])
    rest = len(problems) - limit
    return f"{shown}; and {rest:,} more" if rest > 0 else shown


@contextmanager
def reading(path: object, content: str, fix: str) -> Iterator[None]:
    """Turn any failure to read ``path`` into a TidyVoiceError; ``content`` is what it should be.

    Damaged files make parsers raise exceptions of nearly every type. Only the parsing of one file
    belongs in the block, so that a defect of this package keeps its traceback.
    """
    try:
        yield
    except (TidyVoiceError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except FileNotFoundError:
        raise TidyVoiceError(f"{path} is missing: {fix}") from None
    except PermissionError:
        raise TidyVoiceError(f"{path}: permission denied. Change its permissions") from None
    except MemoryError:
        raise TidyVoiceError(f"{path} needs more memory than is free, or is damaged") from None
    except BaseException as error:  # a panic of polars is not an Exception
        reason = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
        reason = reason.splitlines()[0][:LONGEST_REASON]
        raise TidyVoiceError(f"{path} is not a readable {content} ({reason}): {fix}") from error


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *rest: object
) -> None:
    """Print a warning in one line; only warnings of other packages name their place in the code."""
    where = "" if issubclass(category, TidyVoiceWarning) else f"{filename}:{lineno}: "
    kind = "warning" if issubclass(category, TidyVoiceWarning) else category.__name__
    sys.stderr.write(f"{where}{kind}: {message}\n")


def _stop(message: object) -> NoReturn:
    text = str(message)
    if len(text) > LONGEST_LINE:  # it quotes a damaged file
        text = f"{text[: LONGEST_LINE // 2]} ... {text[-LONGEST_LINE // 4 :]}"
    # The processes of a training share stderr, and print() and sys.exit() write the end of the
    # line separately: lines of two processes would mix.
    sys.stderr.write(f"error: {text}\n")
    sys.exit(1)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Report a user's mistake in one line on stderr, and exit.

    The exit status is 1 for bad input and 130 for Ctrl-C and SIGTERM. Other exceptions are defects
    of this package and keep their traceback.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    warnings.showwarning = _show_warning
    try:
        yield
    except TidyVoiceError as error:
        _stop(error)
    except KeyboardInterrupt:
        if os.environ.get("RANK", "0") == "0":  # one of several processes prints it
            message = "interrupted: finished work is kept; run the same command again to resume"
            sys.stderr.write(f"\n{message}\n")
        sys.exit(INTERRUPTED)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        # An error of polars has the reason only in its text.
        if error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
            _stop(f"the disk is full{where}; free some space, then run the same command again")
        _stop(f"{error.strerror or error}{where}")
