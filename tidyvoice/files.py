"""Files that are either whole or absent: written under a temporary name, then renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; rename it to ``path`` if the block succeeds.

    The folder is made if it is missing. When the block fails, nothing is left behind and a file
    that stood at ``path`` is untouched. The file is flushed to the disk before it is renamed.

    Example:
        >>> with atomic_path("table.txt") as partial:  # doctest: +SKIP
        ...     partial.write_text("whole or absent")
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        yield partial
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` to ``path``, whole or not at all (see ``atomic_path``)."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")
