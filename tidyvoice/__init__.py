"""Open, reproducible, fast speaker verification across languages.

    from tidyvoice import SpeakerEncoder

    encoder = SpeakerEncoder.from_pretrained("exp/mini/finetune/models")
    encoder.verify("one.wav", "other.wav")

Every name is imported on first use, so that the command line starts without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidyvoice.encoder import SpeakerEncoder as SpeakerEncoder
    from tidyvoice.errors import TidyVoiceError as TidyVoiceError

__version__ = "0.1.0"
_HOMES = {
    "Candidate": "verification.enrollment",
    "Enrollment": "verification.enrollment",
    "Gallery": "verification.enrollment",
    "Identification": "verification.enrollment",
    "Recording": "recordings",
    "SpeakerEncoder": "encoder",
    "TidyVoiceError": "errors",
    "TidyVoiceWarning": "errors",
    "Verification": "verification.verifier",
    "Verifier": "verification.verifier",
    "eer": "scoring.metrics",
    "evaluate": "evaluation.categories",
    "min_dcf": "scoring.metrics",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
