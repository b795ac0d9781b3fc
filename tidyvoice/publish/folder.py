"""The folder of a published model, and the proof that it is the model it was made from."""

from dataclasses import replace
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
    """Write the folder ``out``, or nothing: the model, what belongs to it, and its card.

    Returns:
        The names of its files.

    Raises:
        TidyVoiceError: something is at ``out``, a text would tell of this machine, or what was
            written is not the same model.
    """
    with atomic_folder(out) as partial:
        _write(facts, terms, partial)
        refuse_leaks(partial, facts.private)
        _refuse_another(facts.encoder, partial)
    return sorted(path.name for path in out.iterdir())


def _write(facts: Facts, terms: Terms, folder: Path) -> None:
    encoder = facts.encoder
    state = {name: tensor.contiguous() for name, tensor in encoder.model.state_dict().items()}
    # The metadata by which other programs know whose tensors they are.
    (folder / WEIGHTS).write_bytes(safetensors.torch.save(state, {"format": "pt"}))
    names = encoder.trained_on if terms.with_speakers else None
    save_model_config(folder, facts.network, encoder.settings, names or [OTHERS])
    if encoder.verifier is not None:
        notes = {key: _cleaned(value) for key, value in encoder.verifier.notes.items()}
        replace(encoder.verifier, notes=notes).save(folder)
    write_text(folder / CARD, model_card(facts, terms))


def _cleaned(note: object) -> object:
    """A note of the verifier without folders."""
    if isinstance(note, str):
        return without_folders(note)
    return [_cleaned(one) for one in note] if isinstance(note, list) else note


def _refuse_another(encoder: SpeakerEncoder, folder: Path) -> None:
    """Load what was written, and compare it bit for bit.

    Raises:
        TidyVoiceError: its weights, embeddings or decisions are others.
    """
    again = SpeakerEncoder.from_pretrained(folder, "cpu")
    rng = np.random.default_rng(1)
    same = again.weights == encoder.weights and again.settings == encoder.settings
    for samples in TRIED_SAMPLES:
        noise = rng.integers(-3000, 3000, (2, samples), dtype=np.int16)
        one, other = (each.embed_samples(noise) for each in (encoder, again))
        same = same and one.tobytes() == other.tobytes()
        if encoder.verifier is not None:
            before, after = (each.verifier.prepare(one).units for each in (encoder, again))
            same = same and before.tobytes() == after.tobytes()
            decided = [each.verifier.decide(0.3) for each in (encoder, again)]
            same = same and decided[0] == decided[1]
    if not same:
        raise TidyVoiceError(
            f"{folder}: what was written is not the model that was read; nothing is published"
        )
