"""The files of a model, and how to find them in a folder."""

from dataclasses import dataclass
from pathlib import Path

from tidyvoice.errors import TidyVoiceError, summarise

WEIGHT_FILES = ("avg_model.pt", "model.safetensors")
CONFIG_FILE, SPEAKERS_FILE, VERIFIER_FILE = "config.yaml", "speakers.txt", "verifier.json"
HEAD_FILE = "head.pt"
OPTIONAL = (SPEAKERS_FILE, VERIFIER_FILE, HEAD_FILE)
MODEL_FILES = (*WEIGHT_FILES, CONFIG_FILE, *OPTIONAL)
INNER = "models"  # the folder of the weights in an experiment of WeSpeaker
# Places of the weights in a model folder, the preferred one first.
LAYOUTS = tuple(Path(inner, name) for inner in ("", INNER) for name in WEIGHT_FILES)
# A line of SPEAKERS_FILE that stands for further speakers whose names are unknown.
OTHERS = "*"
ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar")
ACCEPTED = f"{', '.join(WEIGHT_FILES)} or {INNER}/{WEIGHT_FILES[0]}"


@dataclass(frozen=True)
class ModelFiles:
    """Paths of a model's files; ``config`` is None for a lone file of weights."""

    weights: Path
    config: Path | None

    @property
    def folder(self) -> Path:
        """The model folder, which also holds the optional files."""
        return (self.config or self.weights).parent

    @property
    def paths(self) -> list[Path]:
        """All files that exist."""
        others = (self.folder / name for name in (CONFIG_FILE, *OPTIONAL))
        return [self.weights, *(path for path in others if path.is_file())]


def model_in(folder: Path, source: str | Path = "") -> ModelFiles:
    """Return the files of the model in a folder or in its sub-folders, at most two levels deep.

    The model folder is the one nearest the top, its weights are the first of ``LAYOUTS``. A
    config.yaml beside weights in ``models`` is preferred to the one above. Errors name ``source``.
    """
    source = source or folder
    for depth in ("", "*/", "*/*/"):  # deeper levels may hold millions of files
        models = {
            path.parents[len(layout.parts) - 1]
            for layout in LAYOUTS
            for path in folder.glob(f"{depth}{layout}")
            if path.is_file()
        }
        if models:
            break
    else:
        raise TidyVoiceError(f"{source} holds no {ACCEPTED}: give the folder of a model")
    if len(models) > 1:
        names = summarise(sorted(str(model.relative_to(folder)) for model in models))
        raise TidyVoiceError(f"{source} holds several models: give one of {names}")
    (model,) = models
    weights = next(model / layout for layout in LAYOUTS if (model / layout).is_file())
    for place in (weights.parent, model):
        if (place / CONFIG_FILE).is_file():
            return ModelFiles(weights, place / CONFIG_FILE)
    problem = f"{source} holds {weights.relative_to(folder)}, but no {CONFIG_FILE} beside it"
    raise TidyVoiceError(f"{problem}: add the one that the model was released with")
