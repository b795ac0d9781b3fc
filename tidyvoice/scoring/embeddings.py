"""Tables of embeddings: utterance ids and one float32 matrix in an ``.npz`` file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tidyvoice.arrays import read_arrays, write_arrays
from tidyvoice.errors import TidyVoiceError, reading
from tidyvoice.scoring.trials import Trials

_ARRAYS = {"ids": "U", "embeddings": "f", "trained_on?": "u", "model?": "U"}
_FIX = "write it with `tidyvoice extract`, or convert it as docs/evaluation.md shows"


@dataclass(frozen=True)
class Embeddings:
    """Utterance ids and their raw embeddings (not centred, not normalised).

    Attributes:
        ids: N utterance ids, each once.
        vectors: float32 [N x D], row n belongs to ``ids[n]``.
        trained_on: the speakers that the model was trained on; None if they are not known.
        model: SHA-256 of its weights (``modelhub.folder.fingerprint``); None if it is not known.
    """

    ids: list[str]
    vectors: np.ndarray
    trained_on: list[str] | None = None
    model: str | None = None

    def mean(self) -> np.ndarray:
        """Return the mean embedding, float32 [D], summed in float64."""
        return self.vectors.mean(axis=0, dtype=np.float64).astype(np.float32)


def every_id(embeddings: Embeddings, source: str) -> Trials:
    """Return a list that has each id once, in order, so that errors name the row."""
    rows = np.arange(len(embeddings.ids), dtype=np.int32)
    return Trials(embeddings.ids, rows, rows, None, source)


def load_embeddings(path: str | Path) -> Embeddings:
    """Read a table of embeddings; a repeated id or a value that is not finite is an error."""
    arrays = read_arrays(path, _ARRAYS, "table of embeddings", _FIX)
    trained_on, model = arrays.get("trained_on"), arrays.get("model")
    with np.errstate(over="ignore"):  # _check refuses infinity
        vectors = arrays["embeddings"].astype(np.float32, copy=False)
    with reading(path, "table of embeddings", _FIX):
        ids = arrays["ids"].tolist()
        "".join(ids).encode()  # refuses letters that do not exist
        if trained_on is not None:
            trained_on = trained_on.astype(np.uint8, casting="safe").tobytes().decode().splitlines()
        if model is not None and model.ndim:
            raise ValueError("'model' is not one text")
    _check(path, arrays["ids"], vectors)
    return Embeddings(ids, vectors, trained_on, None if model is None else str(model))


def same_model(tables: Mapping[str | Path, Embeddings]) -> None:
    """Refuse tables of different models, where these are known, or numbers of columns."""
    models = {name: table.model for name, table in tables.items() if table.model is not None}
    columns = {name: table.vectors.shape[1] for name, table in tables.items()}
    for values in (models, columns):
        first = next(iter(values), None)
        if other := next((name for name in values if values[name] != values[first]), None):
            fix = "Extract both with the same model."
            raise TidyVoiceError(f"{first} and {other} are embeddings of different models. {fix}")


def save_embeddings(
    path: str | Path,
    ids: Sequence[str],
    matrix: np.ndarray,
    trained_on: Sequence[str] | None = None,
    model: str | None = None,
) -> None:
    """Write ids [N] and their raw embeddings [N x D], see ``Embeddings``; errors as in loading."""
    ids = np.asarray(ids, dtype=np.str_)
    matrix = np.asarray(matrix, dtype=np.float32)
    _check(path, ids, matrix)
    origin = {} if model is None else {"model": np.array(model)}
    if trained_on is not None:
        origin["trained_on"] = np.frombuffer("\n".join(trained_on).encode(), dtype=np.uint8)
    write_arrays(path, ids=ids, embeddings=matrix, **origin)


def _check(path: str | Path, ids: np.ndarray, vectors: np.ndarray) -> None:
    if vectors.ndim != 2 or ids.shape != vectors.shape[:1] or not vectors.size:
        shapes = f"'ids' {ids.shape} and 'embeddings' {vectors.shape}"
        raise TidyVoiceError(f"{path}: {shapes} must be [N] and [N x D], with N and D above 0")
    unique, counts = np.unique(ids, return_counts=True)
    if counts.max() > 1:
        raise TidyVoiceError(f"{path}: '{unique[counts.argmax()]}' occurs twice. Keep one of them.")
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        which = f"{len(broken):,} of {len(ids):,} embeddings, first that of '{ids[broken[0]]}',"
        raise TidyVoiceError(f"{path}: {which} hold NaN or infinity. Check the audio.")
