"""The loss head in a model folder, and the start of a head at its speakers' mean embeddings.

``head.pt`` of a model folder holds the speakers in the order of the classes, the number of weight
rows of a class, and the tensors. Of several speeds, each of which makes a speaker another class, it
holds the one nearest 1.0. Only a training with ``loss.init: checkpoint`` reads the file.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from tidyvoice.config import Experiment
from tidyvoice.distributed import World
from tidyvoice.errors import TidyVoiceError
from tidyvoice.losses.head import Head
from tidyvoice.model_files import HEAD_FILE
from tidyvoice.modelhub.folder import model_files, save_torch
from tidyvoice.training.checkpoint import load_checkpoint


def head_file(settings: Experiment) -> Path:
    """Return the path of the head of the initial model.

    Raises:
        TidyVoiceError: it has none.
    """
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
    """Write the head of a training into a model folder.

    Args:
        tensors: the head's state dict, with a class for each speaker at each speed.
        speakers: in the order of the classes.
    """
    rows = len(tensors["weight"]) // len(speeds)
    weight = tensors["weight"][_rows_of_speed(speeds, rows)].clone()
    content = {
        "speakers": list(speakers),
        "rows_per_class": rows // len(speakers),
        "tensors": {**tensors, "weight": weight},
    }
    save_torch(folder / HEAD_FILE, content)


def start_from_head(head: Head, settings: Experiment, speakers: Sequence[str]) -> int:
    """Copy the classes of the speakers that are in the head of the initial model.

    The classes of other speakers and other speeds stay random: usually they are few, and mean
    embeddings would take a pass over all the data.

    Returns:
        the number of classes that were copied.

    Raises:
        TidyVoiceError: the initial model has no head, or one of another loss or other speakers.
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


class ClassMeans:
    """Sum of the unit-length embeddings of each class.

    Args:
        classes: C.
        dim: D.
    """

    def __init__(self, classes: int, dim: int, device: torch.device):
        self._sum = torch.zeros(classes, dim, device=device)
        self._seen = torch.zeros(classes, dtype=torch.bool, device=device)

    def add(self, embeddings: Tensor, labels: Tensor) -> None:
        """Add embeddings [B x D] of classes [B]."""
        self._sum.index_add_(0, labels, torch.nn.functional.normalize(embeddings.float()))
        self._seen[labels] = True

    def share(self, world: World) -> None:
        """Combine the sums of all processes. Collective."""
        self._sum = world.mean(self._sum)  # only the direction matters
        self._seen = world.mean(self._seen.float()) > 0

    def fill(self, weight: Tensor) -> int:
        """Overwrite the rows of ``weight`` [C x D] whose class was seen; return their number.

        The mean of the means is subtracted: raw embeddings share a large common part, so that all
        classes would point the same way.
        """
        means = torch.nn.functional.normalize(self._sum)[self._seen]
        means = torch.nn.functional.normalize(means - means.mean(dim=0))
        lengths = weight.detach()[self._seen].norm(dim=1, keepdim=True)
        with torch.no_grad():
            weight[self._seen] = means * lengths
        return int(self._seen.sum())
