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
    from tidyvoice.recordings import Recording as Recording

__version__ = "0.1.0"
_MODULES = {
    "encoder": ("SpeakerEncoder",),
    "errors": ("TidyVoiceError", "TidyVoiceWarning"),
    "evaluation.categories": ("evaluate",),
    "recordings": ("Recording",),
    "scoring.metrics": ("eer", "min_dcf"),
    "verification.enrollment": ("Candidate", "Enrollment", "Gallery", "Identification"),
    "verification.verifier": ("Verification", "Verifier"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
