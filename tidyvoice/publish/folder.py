"""The folder of a published model."""

from pathlib import Path

import numpy as np
import safetensors.torch

from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import atomic_folder, write_text
from tidyvoice.model_files import OTHERS
from tidyvoice.modelhub.folder import save_model_config
from tidyvoice.publish.card import model_card
from tidyvoice.publish.facts import Facts, Terms
from tidyvoice.publish.privacy import refuse_leaks, without_folders

WEIGHTS, CARD = "model.safetensors", "README.md"
TRIED_SAMPLES = (16000, 24321, 48000)


def write_folder(facts: Facts, terms: Terms, out: Path) -> list[str]:
    """Write the folder ``out`` with the model and its card, whole or not at all.

    Returns:
        The names of its files.

    Raises:
        TidyVoiceError: ``out`` exists, a text names a folder of this machine, or the model that
            was written differs from the one that was read.
    """
    with atomic_folder(out) as partial:
        _write(facts, terms, partial)
        refuse_leaks(partial, facts.private)
        _compare(facts.encoder, partial)
    return sorted(path.name for path in out.iterdir())


def _write(facts: Facts, terms: Terms, folder: Path) -> None:
    encoder = facts.encoder
    state = {name: tensor.contiguous() for name, tensor in encoder.model.state_dict().items()}
    # Other programs read from the metadata that these are tensors of PyTorch.
    (folder / WEIGHTS).write_bytes(safetensors.torch.save(state, {"format": "pt"}))
    save_model_config(folder, facts.network, encoder.settings, [OTHERS])
    if encoder.verifier is not None:
        notes = {key: _without_folders(note) for key, note in encoder.verifier.notes.items()}
        encoder.verifier.model_copy(update={"notes": notes}).save(folder)
    write_text(folder / CARD, model_card(facts, terms))


def _without_folders(note: object) -> object:
    if isinstance(note, list):
        return [_without_folders(item) for item in note]
    return without_folders(note) if isinstance(note, str) else note


def _compare(encoder: SpeakerEncoder, folder: Path) -> None:
    """Load the model in a folder and compare it with an encoder, bit for bit.

    Raises:
        TidyVoiceError: weights, front end, embeddings or decisions differ.
    """
    copy = SpeakerEncoder.from_pretrained(folder, "cpu")
    rng = np.random.default_rng(1)
    same = copy.weights == encoder.weights and copy.settings == encoder.settings
    for samples in TRIED_SAMPLES:
        noise = rng.integers(-3000, 3000, (2, samples), dtype=np.int16)
        before, after = (each.embed_samples(noise) for each in (encoder, copy))
        same = same and before.tobytes() == after.tobytes()
        if encoder.verifier is not None:
            units = [each.verifier.prepare(before).units.tobytes() for each in (encoder, copy)]
            decisions = [each.verifier.decide(0.3) for each in (encoder, copy)]
            same = same and units[0] == units[1] and decisions[0] == decisions[1]
    if not same:
        raise TidyVoiceError(
            f"{folder}: the written model differs from the one that was read; nothing is published"
        )
