"""A hash of the source, which tells whether a result was made by the present code."""

import hashlib
from pathlib import Path


def source_hash(*folders: str) -> str:
    """Return the SHA-256 of the Python files of this package and of further folders."""
    digest = hashlib.sha256()
    for folder in (Path(__file__).parent, *map(Path, folders)):
        for path in sorted(folder.rglob("*.py")):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()
