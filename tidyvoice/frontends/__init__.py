"""Front ends, which turn waveforms into features, built by name and arguments."""

from tidyvoice.frontends import fbank  # noqa: F401
from tidyvoice.frontends.registry import (
    FRONTENDS,
    Frontend,
    FrontendSettings,
    frontend_of,
    with_frontend,
)

__all__ = ["FRONTENDS", "Frontend", "FrontendSettings", "frontend_of", "with_frontend"]
