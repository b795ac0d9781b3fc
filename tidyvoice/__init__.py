"""Open, reproducible, fast speaker verification across languages.

    from tidyvoice import SpeakerEncoder

    encoder = SpeakerEncoder.from_pretrained("exp/mini/finetune/models")
    encoder.verify("one.wav", "other.wav")

What is named here is loaded when it is first asked for, so that the command line starts without
torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidyvoice.encoder import SpeakerEncoder
    from tidyvoice.enrolment import Candidate, Enrolment, Gallery, Identification
    from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
    from tidyvoice.recordings import Recording
    from tidyvoice.verifier import Verification, Verifier

__version__ = "0.1.0"
__all__ = [
    "Candidate",
    "Enrolment",
    "Gallery",
    "Identification",
    "Recording",
    "SpeakerEncoder",
    "TidyVoiceError",
    "TidyVoiceWarning",
    "Verification",
    "Verifier",
]

_MODULES = {
    "encoder": ("SpeakerEncoder",),
    "enrolment": ("Candidate", "Enrolment", "Gallery", "Identification"),
    "errors": ("TidyVoiceError", "TidyVoiceWarning"),
    "recordings": ("Recording",),
    "verifier": ("Verification", "Verifier"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
