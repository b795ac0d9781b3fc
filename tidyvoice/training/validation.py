"""EER on a trial list of held-out speakers during a training."""

import json
import math
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, RootModel
from torch import nn

from tidyvoice.config import Experiment
from tidyvoice.distributed import World
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.extraction.extract import AudioFolder, embed_rows
from tidyvoice.files import write_text
from tidyvoice.scoring.backend import Backend
from tidyvoice.scoring.cosine import trial_scores
from tidyvoice.scoring.embeddings import Embeddings
from tidyvoice.scoring.metrics import eer
from tidyvoice.scoring.trials import read_trials
from tidyvoice.settings import read_json

HISTORY = "log/validation.json"
STANDARD_ERRORS = 2.0  # by which a worse EER is higher, as if all targets were independent


class _Rates(RootModel[dict[Annotated[int, Field(ge=0)], Annotated[float, Field(ge=0, le=1)]]]):
    pass


def history(experiment: Path) -> dict[int, float]:
    """Return the EER, as a fraction, of each epoch that an experiment validated."""
    path = experiment / HISTORY
    return read_json(_Rates, path, "remove it").root if path.exists() else {}


def best_epoch(experiment: Path, epochs: Collection[int]) -> int | None:
    """Return which of these epochs has the lowest EER, the later of equals; None without any."""
    eers = [(eer, -epoch) for epoch, eer in history(experiment).items() if epoch in epochs]
    return -min(eers)[1] if eers else None


class Validation:
    """The trial list of an experiment, scored by cosines after subtracting its mean embedding."""

    def __init__(self, settings: Experiment, world: World):
        chosen = settings.validation
        self._settings = settings
        self._world = world
        self._source = AudioFolder(chosen.data)
        self._trials = read_trials(chosen.trials)
        labels = self._trials.label
        if labels is None or not 0 < int(labels.sum()) < len(labels):
            raise TidyVoiceError(f"{chosen.trials}: give a list with targets and non-targets")
        self._rows = np.sort(self._trials.places_in(self._source.ids, "utterance"))
        self._measured = history(settings.experiment)

    def measure(self, model: nn.Module) -> float:
        """Return the EER of a model as a fraction; leave it in evaluation mode. Collective."""
        world, source = self._world, self._source
        encoder = SpeakerEncoder(model, self._settings.frontend, str(world.device))
        # Sorted by length, so that every process gets the same amount of work.
        by_length = self._rows[np.argsort(source.samples[self._rows], kind="stable")]
        share = by_length[world.rank :: world.size]
        vectors = np.empty((0, self._settings.model.embed_dim), np.float32)
        if len(share):  # there may be more processes than utterances
            vectors = embed_rows(encoder, source, share)
        parts = zip(*world.gather((share, vectors)), strict=True)
        rows, matrix = map(np.concatenate, parts)
        embeddings = Embeddings([source.ids[row] for row in rows], matrix)
        scores = trial_scores(embeddings, self._trials, Backend(mean=matrix.mean(axis=0)))
        return eer(scores, self._trials.label)

    def judge(self, epoch: int, value: float) -> list[str]:
        """Save the EER of an epoch; return the lines to log."""
        self._measured = {e: v for e, v in self._measured.items() if e < epoch} | {epoch: value}
        if self._world.is_first:
            write_text(self._settings.experiment / HISTORY, json.dumps(self._measured) + "\n")
        lines = [f"validation after epoch {epoch}: EER {100 * value:.2f} %"]
        start = self._measured.get(0)
        if epoch and start is not None and self._settings.model.init:
            error = math.sqrt(max(start * (1 - start), 1e-12) / int(self._trials.label.sum()))
            if value > start + STANDARD_ERRORS * error:
                lines.append(
                    f"warning: the EER is worse than the {100 * start:.2f} % of the initial model: "
                    "if it stays so, start again with a lower learning rate or final margin"
                )
        return lines
