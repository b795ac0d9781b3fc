"""The loss head in a model folder.

``head.pt`` of a model folder holds the speakers in the order of the classes, the number of weight
rows of a class, and the tensors. Of several speeds, each of which makes a speaker another class, it
holds the one nearest 1.0. Only a training with ``loss.init: checkpoint`` reads the file.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from tidyvoice.config import Experiment
from tidyvoice.errors import TidyVoiceError
from tidyvoice.losses import Head
from tidyvoice.model_files import HEAD_FILE
from tidyvoice.modelhub.folder import model_files, save_torch
from tidyvoice.training.checkpoint import load_checkpoint


def head_file(settings: Experiment) -> Path:
    """Return the path of the head of the initial model."""
    path = model_files(settings.model.init).folder / HEAD_FILE
    if not path.is_file():
        raise TidyVoiceError(
            f"{path} is missing, but loss.init: checkpoint needs it: make the model folder with "
            "`tidyvoice average`, or set loss.init to random or speaker_means"
        )
    return path


def save_head(
    folder: Path, tensors: Mapping[str, Tensor], speakers: Sequence[str], speeds: Sequence[float]
) -> None:
    """Write a head, given its state dict, with a class for each speaker at each speed."""
    rows = len(tensors["weight"]) // len(speeds)
    weight = tensors["weight"][_rows_of_speed(speeds, rows)].clone()
    content = {
        "speakers": list(speakers),
        "rows_per_class": rows // len(speakers),
        "tensors": {**tensors, "weight": weight},
    }
    save_torch(folder / HEAD_FILE, content)


def start_from_head(head: Head, settings: Experiment, speakers: Sequence[str]) -> int:
    """Copy the classes of the speakers in the head of the initial model; return their number.

    The classes of other speakers and other speeds stay random: usually they are few, and mean
    embeddings would take a pass over all the data.
    """
    path, state = head_file(settings), head.state_dict()
    saved = load_checkpoint(path)
    rows, tensors = head.rows_per_class, saved["tensors"]
    form = saved["rows_per_class"], sorted(tensors), tensors["weight"].shape[1]
    if form != (rows, sorted(state), state["weight"].shape[1]):
        raise TidyVoiceError(
            f"{path} is the head of another loss ({form[0]} x {form[2]} weights a class, "
            f"{', '.join(form[1])}): set loss and model.embed_dim as in the training that made "
            "it, or loss.init to random or speaker_means"
        )
    places = {speaker: place for place, speaker in enumerate(saved["speakers"])}
    common = [(place, places[name]) for place, name in enumerate(speakers) if name in places]
    if not common:
        raise TidyVoiceError(
            f"{path} has none of the {len(speakers):,} speakers of data.train: set loss.init to "
            "random or speaker_means"
        )
    here, there = torch.tensor(common).T
    weight = state.pop("weight")  # shares its memory with the parameter, as do the others
    weight = weight[_rows_of_speed(settings.data.speeds, len(speakers) * rows)]
    source = tensors["weight"].to(weight.device).unflatten(0, (-1, rows))
    weight.unflatten(0, (-1, rows))[here] = source[there]
    for name, tensor in state.items():
        tensor.copy_(tensors[name])
    return len(common)


def _rows_of_speed(speeds: Sequence[float], rows: int) -> slice:
    """Return the rows of the weight whose classes are at the speed nearest 1.0."""
    nearest = min(range(len(speeds)), key=lambda place: abs(speeds[place] - 1.0))
    return slice(nearest * rows, (nearest + 1) * rows)
