"""What an exported file says of itself."""

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
    """What an exported file says of itself.

    Attributes:
        input: "waveform" [B x S] in -1..1 or "features" [B x T x F].
        precision: "float32" or "int8".
        embedding_dim: D.
        frame_bytes: of one frame of the widest map, by which extraction plans its memory.
        sample_rate: of the waveforms, in Hz.
        frontend: name and settings of the front end.
        weights: SHA-256 of the weights of the model, see ``hub.fingerprint``.
        trained_on: the speakers that the model, and its int8 ranges, were fitted to, where known.
        fewest_frames: of an utterance that the file takes.
    """

    input: Input
    precision: Literal["float32", "int8"]
    embedding_dim: int
    frame_bytes: int
    sample_rate: int
    frontend: dict[str, Any]
    weights: str | None
    trained_on: list[str] | None
    fewest_frames: int

    def to_strings(self) -> dict[str, str]:
        """Keys and JSON values, as the metadata of an ONNX file are text."""
        return {f"{PREFIX}{name}": json.dumps(value) for name, value in asdict(self).items()}

    @classmethod
    def from_strings(cls, found: dict[str, str], path: Path) -> "Description":
        """What ``to_strings`` wrote.

        Raises:
            TidyVoiceError: the file ``path`` was not written by ``tidyvoice export``.
        """
        names = cls.__dataclass_fields__
        missing = [name for name in names if PREFIX + name not in found]
        if missing:
            raise TidyVoiceError(
                f"{path} does not say its {PREFIX}{missing[0]}: give a file that "
                "`tidyvoice export` wrote"
            )
        return cls(**{name: json.loads(found[PREFIX + name]) for name in names})

    def settings(self, path: Path) -> FrontendSettings:
        """Return the settings of the front end of the file ``path``."""
        return validate(FrontendSettings, self.frontend, f"{path} {PREFIX}frontend")


def describe(encoder: SpeakerEncoder, input: Input, fewest_frames: int = 1) -> Description:
    """The description of an encoder's float32 export."""
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
        fewest_frames,
    )
