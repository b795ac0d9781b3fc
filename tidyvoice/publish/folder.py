"""The folder of a published model."""

import re
from pathlib import Path

import numpy as np
import safetensors.torch

from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import atomic_folder, write_text
from tidyvoice.model_files import OTHERS
from tidyvoice.modelhub.folder import save_model_config
from tidyvoice.publish.card import model_card
from tidyvoice.publish.facts import Facts

WEIGHTS, CARD = "model.safetensors", "README.md"
TEXTS = (".md", ".json", ".yaml", ".txt")


def write_folder(
    facts: Facts, out: Path, repository: str, licence: str, about: str = ""
) -> list[str]:
    """Write the folder ``out`` with the model and its card, whole or not at all.

    ``licence`` is that of the weights, as the Hub writes it, ``about`` the publisher's description.
    Return the names of the files. A text that names a folder of this machine is an error, as is a
    written model that differs from the one that was read.
    """
    encoder = facts.encoder
    state = {name: tensor.contiguous() for name, tensor in encoder.model.state_dict().items()}
    with atomic_folder(out) as partial:
        # Other programs read from the metadata that these are tensors of PyTorch.
        (partial / WEIGHTS).write_bytes(safetensors.torch.save(state, {"format": "pt"}))
        save_model_config(partial, facts.network, encoder.settings, [OTHERS])
        if encoder.verifier is not None:
            encoder.verifier.save(partial)
        write_text(partial / CARD, model_card(facts, repository, licence, about))
        _refuse_leaks(partial, facts.folder)
        _compare(encoder, partial)
    return sorted(path.name for path in out.iterdir())


def _refuse_leaks(folder: Path, model: Path) -> None:
    """Refuse texts that name the model's folder, the working directory or the home."""
    hidden = {str(path) for path in (model, model.parent, Path.cwd(), Path.home())} - {"/"}
    for file in sorted(path for path in folder.iterdir() if path.suffix in TEXTS):
        text = file.read_text(encoding="utf-8")
        for path in sorted(hidden, key=len, reverse=True):
            if re.search(rf"(?<!\w){re.escape(path)}(?!\w)", text):
                fix = "remove it from --about and from the names of files"
                raise TidyVoiceError(f"{file.name} would publish the path {path}: {fix}")


def _compare(encoder: SpeakerEncoder, folder: Path) -> None:
    """Check that a written model is equal to an encoder, bit for bit."""
    copy = SpeakerEncoder.from_pretrained(folder, "cpu")
    noise = np.random.default_rng(1).integers(-3000, 3000, (2, 24321), dtype=np.int16)
    before, after = (each.embed_samples(noise) for each in (encoder, copy))
    same = copy.weights == encoder.weights and copy.settings == encoder.settings
    if encoder.verifier is not None:
        units = [each.verifier.prepare(before).units.tobytes() for each in (encoder, copy)]
        decisions = [each.verifier.decide(0.3) for each in (encoder, copy)]
        same = same and units[0] == units[1] and decisions[0] == decisions[1]
    if not same or before.tobytes() != after.tobytes():
        raise TidyVoiceError(f"{folder}: the written model differs from the one that was read")
