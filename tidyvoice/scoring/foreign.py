"""Tables of embeddings that other programs wrote: Kaldi's vectors, and matrices of NumPy.

Nothing in these files is executed, and a size that a file claims is compared with its own size
before memory is allocated.
"""

import itertools
import mmap
from collections.abc import Iterator
from pathlib import Path
from tokenize import TokenError

import numpy as np
import polars as pl

from tidyvoice.errors import TidyVoiceError
from tidyvoice.kaldi_tables import read_table

FOREIGN = (".scp", ".ark", ".npy")
FLOATS = {b"FV ": np.dtype("<f4"), b"DV ": np.dtype("<f8")}
LONGEST_ID = 1024  # bytes
Vectors = Iterator[tuple[str, np.ndarray, str]]  # id, numbers, place for an error message


def files_of(path: Path) -> list[Path]:
    """Return the files that a table consists of; ``[path]`` for all but ``.npy`` and ``.scp``."""
    if path.suffix == ".npy":
        return [path, path.with_suffix(".txt")]
    if path.suffix == ".scp":
        return [path, *map(Path, _listed(path)["ark"].unique(maintain_order=True))]
    return [path]


def read_foreign(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read ids, text [N], and numbers, [N x D]; the caller checks them.

    Args:
        path: an ``.scp`` or ``.ark`` of Kaldi, or an ``.npy`` with the ids beside it in a ``.txt``.
    """
    if path.suffix == ".npy":
        return _matrix(path)
    vectors = _of_list(path) if path.suffix == ".scp" else _of_archive(path)
    ids, first = [], next(vectors)
    shape = first[1].shape

    def rows() -> Iterator[np.ndarray]:
        for utterance, vector, where in itertools.chain([first], vectors):
            if vector.shape != shape:
                raise TidyVoiceError(
                    f"{where}: '{utterance}' has {vector.size} numbers, '{first[0]}' {shape[0]}. "
                    "Extract all embeddings with one model."
                )
            ids.append(utterance)
            yield vector

    with np.errstate(over="ignore"):  # the caller refuses infinity
        matrix = np.fromiter(rows(), dtype=np.dtype((np.float32, shape)))
    return np.array(ids), matrix


def _matrix(path: Path) -> tuple[np.ndarray, np.ndarray]:
    ids_file = path.with_suffix(".txt")
    rule = f"{ids_file} must hold the ids of the rows of {path}, one a line"
    try:
        matrix = np.lib.format.open_memmap(path, mode="r")  # compares the sizes
    except (ValueError, TypeError, OSError, OverflowError, TokenError) as error:
        raise TidyVoiceError(
            f"{path}: not a complete .npy without pickles ({type(error).__name__}). Write it with "
            "np.save."
        ) from None
    try:
        ids = ids_file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TidyVoiceError(f"{rule}, but it cannot be read ({type(error).__name__}).") from None
    broken = [number for number, line in enumerate(ids, 1) if len(line.split()) != 1]
    if broken:
        raise TidyVoiceError(f"{rule}, but line {broken[0]} is not one word.")
    if matrix.shape[:1] != (len(ids),):
        raise TidyVoiceError(f"{rule}: it has {len(ids):,} lines, the array is {matrix.shape}.")
    return np.array([line.strip() for line in ids]), np.array(matrix)


def _listed(path: Path) -> pl.DataFrame:
    """Return the lines of an ``.scp`` as the columns utterance, ark and offset."""
    table = read_table(path, "FILE.ark:OFFSET").rename({"FILE.ark:OFFSET": "place"})
    place = pl.col("place").str.extract_groups(r"^(?<ark>[^|]+):(?<offset>[0-9]{1,18})$")
    table = table.with_columns(place.alias("parts")).unnest("parts")
    for line in table["ark"].is_null().arg_true()[:1]:
        wrong = table["place"][line]
        reason = "commands are not executed" if "|" in wrong else f"not {wrong[:80]!r}"
        raise TidyVoiceError(f"{path}:{line + 1}: expected ID FILE.ark:OFFSET; {reason}")
    if not table.height:
        raise TidyVoiceError(f"{path} is empty: expected lines ID FILE.ark:OFFSET")
    return table


def _of_list(path: Path) -> Vectors:
    rows = enumerate(_listed(path).select("utterance", "ark", "offset").iter_rows(), 1)
    # One archive is open at a time, because a list may name more than a process may open.
    for ark, lines in itertools.groupby(rows, lambda row: row[1][1]):
        content = None
        for line, (utterance, _, offset) in lines:
            where = f"{path}:{line}: {ark}:{offset}"
            content = content or _mapped(ark, where)
            yield utterance, _vector(content, int(offset), where)[0], where


def _of_archive(path: Path) -> Vectors:
    content, start = _mapped(path, str(path)), 0
    while start < len(content):
        where, space = f"{path}: byte {start:,}", content.find(b" ", start, start + LONGEST_ID)
        name = content[start : max(space, start)].decode(errors="replace")
        if not name or not name.isprintable() or "\ufffd" in name:
            raise TidyVoiceError(f"{where}: no id and vector of Kaldi; the file is cut or no .ark")
        vector, start = _vector(content, space + 1, where)
        yield name, vector, where


def _mapped(path: str | Path, where: str) -> mmap.mmap:
    try:
        if not Path(path).is_file():  # to open a pipe would wait for its writer
            raise FileNotFoundError(0, "no such file")
        with open(path, "rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise TidyVoiceError(
            f"{where}: cannot be read ({error.strerror}). Paths in an .scp are relative to the "
            "current folder."
        ) from None
    except ValueError:
        raise TidyVoiceError(f"{where}: the archive is empty") from None


def _vector(content: mmap.mmap, start: int, where: str) -> tuple[np.ndarray, int]:
    """Return the vector at ``start``, after its id, and where it ends."""
    if start >= len(content):
        raise TidyVoiceError(f"{where}: the archive ends before this, at byte {len(content):,}")
    if content[start : start + 2] == b"\0B":
        kind, count = content[start + 2 : start + 5], content[start + 5 : start + 10]
        if kind not in FLOATS:
            raise TidyVoiceError(f"{where}: expected a vector of floats, FV or DV, not {kind!r}")
        number = int.from_bytes(count[1:], "little", signed=True)
        end = start + 10 + number * FLOATS[kind].itemsize
        if count[:1] != b"\4" or number < 1 or end > len(content):
            raise TidyVoiceError(
                f"{where}: a vector of {number:,} numbers does not fit into the file: it is cut or "
                "damaged"
            )
        return np.frombuffer(content, FLOATS[kind], number, start + 10), end
    end = content.find(b"\n", start)
    end = len(content) if end < 0 else end
    words = content[start:end].split()
    try:
        if len(words) < 3 or (words[0], words[-1]) != (b"[", b"]"):
            raise ValueError
        return np.array(words[1:-1], dtype=np.float64), end + 1
    except ValueError:
        raise TidyVoiceError(
            f"{where}: expected a line [ NUMBER ... ] or a binary vector"
        ) from None
