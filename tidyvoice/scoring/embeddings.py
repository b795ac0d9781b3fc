"""Tables of embeddings: utterance ids and one float32 matrix; ours are one ``.npz`` file."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import atomic_path
from tidyvoice.scoring.foreign import FOREIGN, read_foreign


@dataclass(frozen=True)
class Embeddings:
    """Utterance ids and their raw embeddings (not centred, not normalised).

    Attributes:
        ids: N utterance ids, each once.
        vectors: float32 [N x D], row n belongs to ``ids[n]``.
        trained_on: the speakers that the model was trained on; None if they are not known.
        model: SHA-256 of the weights of the model (``modelhub.folder.fingerprint``); None if it
            is not known.
    """

    ids: list[str]
    vectors: np.ndarray
    trained_on: list[str] | None = None
    model: str | None = None

    def mean(self) -> np.ndarray:
        """Return the mean embedding, float32 [D], summed in float64."""
        return self.vectors.mean(axis=0, dtype=np.float64).astype(np.float32)


def load_embeddings(path: str | Path) -> Embeddings:
    """Read and check a table of embeddings.

    Args:
        path: a ``.npz``, or ``.scp``, ``.ark`` or ``.npy`` of other programs, which hold neither
            model nor speakers (see docs/evaluation.md).

    Raises:
        TidyVoiceError: the file is missing or is no such table, the shapes disagree, an id occurs
            twice, or an embedding is not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise TidyVoiceError(f"{path}: no such file. Write embeddings with `tidyvoice extract`.")
    trained_on, model = None, None
    if path.suffix in FOREIGN:
        ids, vectors = read_foreign(path)
    else:
        ids, vectors, trained_on, model = _read_npz(path)
    if vectors.dtype.kind == "f":
        with np.errstate(over="ignore"):  # _check refuses infinity
            vectors = vectors.astype(np.float32, copy=False)
    _check(path, ids, vectors)
    return Embeddings(ids.tolist(), vectors, trained_on, model)


def _read_npz(path: Path) -> tuple[np.ndarray, np.ndarray, list[str] | None, str | None]:
    if not zipfile.is_zipfile(path):
        raise TidyVoiceError(
            f"{path}: not a table of embeddings. Give an .npz of `tidyvoice extract`, or .scp, "
            ".ark or .npy."
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            for key in ("ids", "embeddings"):
                if key not in archive:
                    raise TidyVoiceError(
                        f"{path}: array '{key}' is missing among {len(archive.files):,} arrays. "
                        "A table of embeddings holds 'ids' (text, N) and 'embeddings' (float, "
                        "N x D); docs/evaluation.md shows how to convert other tables."
                    )
            trained_on = None
            if "trained_on" in archive:
                trained_on = archive["trained_on"].tobytes().decode().splitlines()
            model = str(archive["model"]) if "model" in archive else None
            return archive["ids"], archive["embeddings"], trained_on, model
    except (ValueError, TypeError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise TidyVoiceError(
            f"{path}: not a readable .npz without pickles ({type(error).__name__}). Extract it "
            "again."
        ) from error


def same_model(tables: Mapping[str | Path, Embeddings]) -> None:
    """Refuse embeddings of different models: distances between them mean nothing.

    Args:
        tables: by their names in the message. Tables of unknown models pass.
    """
    models = {name: table.model for name, table in tables.items() if table.model is not None}
    first = next(iter(models), None)
    for name, model in models.items():
        if model != models[first]:
            raise TidyVoiceError(
                f"{first} and {name} are embeddings of different models. Extract both with the "
                "same model."
            )


def save_embeddings(
    path: str | Path,
    ids: Sequence[str],
    matrix: np.ndarray,
    trained_on: Sequence[str] | None = None,
    model: str | None = None,
) -> None:
    """Write ids [N] and their embeddings [N x D].

    Args:
        trained_on: the speakers that the model was trained on, if they are known.
        model: SHA-256 of its weights, if it is known.

    Raises:
        TidyVoiceError: the shapes disagree, an id occurs twice, or an embedding is not finite.
    """
    ids = np.asarray(ids, dtype=np.str_)
    matrix = np.asarray(matrix, dtype=np.float32)
    _check(path, ids, matrix)
    origin = {} if model is None else {"model": np.array(model)}
    if trained_on is not None:
        origin["trained_on"] = np.frombuffer("\n".join(trained_on).encode(), dtype=np.uint8)
    # An open file, because numpy would add ".npz" to a name that ends otherwise.
    with atomic_path(path) as partial, open(partial, "wb") as file:
        np.savez(file, ids=ids, embeddings=matrix, **origin)


def _check(path: str | Path, ids: np.ndarray, vectors: np.ndarray) -> None:
    if ids.ndim != 1 or ids.dtype.kind != "U":
        raise TidyVoiceError(
            f"{path}: 'ids' must be one row of text, not {ids.dtype} of shape {ids.shape}"
        )
    if vectors.ndim != 2 or len(vectors) != len(ids) or vectors.dtype.kind != "f":
        raise TidyVoiceError(
            f"{path}: 'embeddings' must be floats of shape ({len(ids)}, D) for {len(ids)} ids, "
            f"not {vectors.dtype} of shape {vectors.shape}"
        )
    if not len(ids):
        raise TidyVoiceError(f"{path}: no embeddings. Extract them again.")
    unique, counts = np.unique(ids, return_counts=True)
    if len(twice := unique[counts > 1]):
        raise TidyVoiceError(
            f"{path}: {len(twice):,} ids occur more than once, the first is '{twice[0]}'. Remove "
            "the copies."
        )
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        raise TidyVoiceError(
            f"{path}: {len(broken):,} of {len(ids):,} embeddings hold NaN or infinity, the first "
            f"is number {broken[0] + 1}, that of '{ids[broken[0]]}'. Check its audio, and extract "
            "it again."
        )
