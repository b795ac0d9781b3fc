"""Metadata of an exported file."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.frontends import FrontendSettings
from tidyvoice.headers import SAMPLE_RATE
from tidyvoice.settings import validate

Input = Literal["waveform", "features"]
PREFIX = "tidyvoice."


@dataclass(frozen=True)
class Description:
    """Metadata of an exported file.

    Attributes:
        input: "waveform" [B x S] in -1..1, or "features" [B x T x F].
        precision: "float32" or "int8".
        embedding_dim: D.
        frame_bytes: bytes of one frame of the widest feature map, from which extraction plans its
            memory. Some maps of int8 files are float32, so this is an upper bound.
        sample_rate: Hz.
        frontend: name and settings of the front end.
        weights: SHA-256 of the weights of the model, see ``modelhub.folder.fingerprint``.
        trained_on: training speakers of the model and of its int8 ranges, where known.
    """

    input: Input
    precision: Literal["float32", "int8"]
    embedding_dim: int
    frame_bytes: int
    sample_rate: int
    frontend: dict[str, Any]
    weights: str | None
    trained_on: list[str] | None

    def to_strings(self) -> dict[str, str]:
        """Return keys and JSON values, because the metadata of an ONNX file are strings."""
        return {f"{PREFIX}{name}": json.dumps(value) for name, value in asdict(self).items()}

    @classmethod
    def from_strings(cls, metadata: dict[str, str], path: Path) -> "Description":
        """Read what ``to_strings`` returned.

        Raises:
            TidyVoiceError: `tidyvoice export` did not write the file ``path``.
        """
        names = cls.__dataclass_fields__
        missing = [PREFIX + name for name in names if PREFIX + name not in metadata]
        if missing:
            raise TidyVoiceError(
                f"{path} has no metadata {missing[0]}: give a file that `tidyvoice export` wrote"
            )
        return cls(**{name: json.loads(metadata[PREFIX + name]) for name in names})

    def settings(self, path: Path) -> FrontendSettings:
        """Return the settings of the front end of the file ``path``."""
        return validate(FrontendSettings, self.frontend, f"{path} {PREFIX}frontend")


def describe(encoder: SpeakerEncoder, input: Input) -> Description:
    """Describe the float32 export of an encoder."""
    speakers = encoder.trained_on
    return Description(
        input,
        "float32",
        encoder.model.embed_dim,
        encoder.frame_bytes,
        SAMPLE_RATE,
        encoder.settings.model_dump(),
        encoder.weights,
        None if speakers is None else list(speakers),
    )
