"""The filterbank under the name that it had before there was a registry of front ends."""

from tidyvoice.frontends import FrontendSettings
from tidyvoice.frontends.fbank import Fbank as Frontend

__all__ = ["Frontend", "FrontendSettings"]
