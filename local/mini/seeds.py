"""Independent random streams, each a function of the seed and its purpose."""

import hashlib

import numpy as np


def stream(seed: int, *purpose: str | int) -> np.random.Generator:
    """Return the generator of a purpose; earlier draws and the process do not matter.

    Example:
        >>> a, b = stream(1, "voice", "id010001"), stream(1, "voice", "id010001")
        >>> a.integers(100) == b.integers(100)
        np.True_
    """
    text = "/".join(str(part) for part in (seed, *purpose))
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big"))
