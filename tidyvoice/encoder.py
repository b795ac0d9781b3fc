"""A speaker encoder: a model together with the frontend that it was trained with."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from tidyvoice.device import choose_device
from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import sha256
from tidyvoice.frontend import INT16_SCALE, Frontend, FrontendSettings
from tidyvoice.hub import load_model, training_speakers, weight_file
from tidyvoice.models.inference import InferenceModel

# What the convolutions compute in.
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class SpeakerEncoder:
    """Waveforms to speaker embeddings, in evaluation mode: no dither, no augmentation.

    Args:
        model: maps features [B x T x F] to embeddings [B x D].
        settings: of the frontend.
        device: what to compute on.
        trained_on: the speakers that the model was trained on, where known.
        weights: SHA-256 of its file of weights, where known.
        precision: a key of ``PRECISIONS``.

    Attributes:
        inference: the copy of the model that embeds (see ``InferenceModel``).

    Example:
        >>> encoder = SpeakerEncoder.from_pretrained("exp/mini/finetune/models")  # doctest: +SKIP
        >>> encoder.embed_samples(samples[None]).shape  # doctest: +SKIP
        (1, 128)
    """

    def __init__(
        self,
        model: torch.nn.Module,
        settings: FrontendSettings,
        device: str = "auto",
        trained_on: Sequence[str] | None = None,
        weights: str | None = None,
        precision: str = "float32",
    ):
        if precision not in PRECISIONS:
            raise TidyVoiceError(f"no precision {precision}: there are {', '.join(PRECISIONS)}")
        self.trained_on = trained_on
        self.weights = weights
        self.device = choose_device(device)
        self.precision = precision
        self.model = model.to(self.device).eval()
        self.inference = InferenceModel(self.model, PRECISIONS[precision])
        self.frontend = Frontend(settings).to(self.device).eval()

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, device: str = "auto", precision: str = "float32"
    ) -> "SpeakerEncoder":
        """The encoder of a model folder.

        Raises:
            TidyVoiceError: see ``tidyvoice.hub.load_model``.
        """
        return cls(
            *load_model(folder),
            device=device,
            trained_on=training_speakers(folder),
            weights=sha256(weight_file(folder)),
            precision=precision,
        )

    @property
    def settings(self) -> FrontendSettings:
        return self.frontend.settings

    @torch.inference_mode()
    def embed_samples(self, samples: np.ndarray) -> np.ndarray:
        """Raw embeddings float32 [B x D] of 16-bit samples int16 [B x S] of equal length.

        Raises:
            TidyVoiceError: shorter than one frame, or an embedding is not finite.
        """
        waveforms = torch.from_numpy(samples).to(self.device).float() / INT16_SCALE
        embeddings = self.inference(self.frontend(waveforms)).cpu().numpy()
        if not np.isfinite(embeddings).all():
            raise TidyVoiceError(
                "the model gave an embedding that is not finite: check its weights"
            )
        return embeddings
