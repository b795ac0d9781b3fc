"""Arrays in files: named ones in ``.npz``, checked before memory is allocated, and in JSON."""

import base64
import io
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import PlainSerializer, PlainValidator

from tidyvoice.errors import TidyVoiceError, reading
from tidyvoice.files import atomic_path

# Bytes that one compressed byte may become, and of arrays to which this limit does not apply: one
# long id makes all ids of a table as long.
EXPANSION, HARMLESS = 200, 2**28
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def write_arrays(path: str | Path, **arrays: np.ndarray) -> None:
    """Write arrays by name, without pickles; ``path`` may have any ending."""
    # An open file, because numpy would add ".npz" to a name that ends otherwise.
    with atomic_path(path) as partial, open(partial, "wb") as file:
        np.savez(file, **arrays)


def read_arrays(
    path: str | Path, wanted: Mapping[str, str], content: str, fix: str
) -> dict[str, np.ndarray]:
    """Read the arrays ``wanted`` of a file, and no others.

    ``wanted`` has the kinds of type (``numpy.dtype.kind``) that each name may have: "f" or "iu". A
    name that ends in "?" may be absent. For ``content`` and ``fix`` see ``errors.reading``.
    """
    arrays = {}
    with reading(path, content, fix), zipfile.ZipFile(path) as archive:
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        if unknown := members.keys() - {key.removesuffix("?") for key in wanted}:
            raise ValueError(f"unexpected array {min(unknown)!r}")
        for key, kinds in wanted.items():
            name = key.removesuffix("?")
            member = members.get(name)
            if member is None and key.endswith("?"):
                continue
            if member is None:
                raise TidyVoiceError(f"{path}: no array {name!r} in this {content}: {fix}")
            if member.file_size > max(EXPANSION * member.compress_size, HARMLESS):
                raise ValueError(f"{name} claims {member.file_size:,} bytes")
            with archive.open(member) as file:
                header = _HEADERS[np.lib.format.read_magic(file)]
                shape, _, dtype = header(file)
                if dtype.kind not in kinds:
                    raise ValueError(f"{name} has the type {dtype}")
                if math.prod(shape) * dtype.itemsize != member.file_size - file.tell():
                    raise ValueError(f"{name} is not {shape} values of {dtype}")
            with archive.open(member) as file:
                arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
    return arrays


def _array(value: np.ndarray | str) -> np.ndarray:
    """Read an array from the text of a ``.npy`` file in base64."""
    if isinstance(value, str):
        file = io.BytesIO(base64.b64decode(value, validate=True))
        try:
            value = np.lib.format.read_array(file, allow_pickle=False)
        except Exception as error:  # numpy evaluates the header as Python
            raise ValueError(f"not an array ({error})") from None
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        raise ValueError("not an array of floats")
    if not value.size or not np.isfinite(value).all():
        raise ValueError("empty, or not finite")
    return value


def _text(array: np.ndarray) -> str:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=False)
    return base64.b64encode(file.getvalue()).decode()


# A field of settings or of a JSON file that holds an array of finite floats.
Array = Annotated[np.ndarray, PlainValidator(_array), PlainSerializer(_text, when_used="json")]
