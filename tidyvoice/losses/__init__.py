"""Losses over speaker classes, built by name."""

import difflib
import inspect
from collections.abc import Iterable
from typing import Any

from tidyvoice.errors import TidyVoiceError
from tidyvoice.losses.am_softmax import AMSoftmax
from tidyvoice.losses.arc_margin import ArcMargin
from tidyvoice.losses.head import Head
from tidyvoice.losses.languages import CrossLanguageContrast, LanguageAdversary
from tidyvoice.losses.sphereface2 import SphereFace2
from tidyvoice.losses.sub_centre import SubCentreArcMargin

__all__ = [
    "LOSSES",
    "AMSoftmax",
    "ArcMargin",
    "CrossLanguageContrast",
    "Head",
    "LanguageAdversary",
    "SphereFace2",
    "SubCentreArcMargin",
    "build_loss",
    "loss_options",
]

LOSSES: dict[str, type[Head]] = {
    "ArcMargin": ArcMargin,
    "AMSoftmax": AMSoftmax,
    "SubCentreArcMargin": SubCentreArcMargin,
    "SphereFace2": SphereFace2,
}


def loss_options(name: str) -> dict[str, Any]:
    """The options of a loss and their defaults.

    Args:
        name: a key of ``LOSSES``.

    Raises:
        TidyVoiceError: no such loss; the nearest name is named.
    """
    if name not in LOSSES:
        raise TidyVoiceError(f"no loss is called {name!r}: {_mend(name, LOSSES)}")
    parameters = inspect.signature(LOSSES[name]).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def build_loss(name: str, embed_dim: int, num_classes: int, **options: Any) -> Head:
    """A loss over ``num_classes`` for embeddings of ``embed_dim`` dimensions.

    Args:
        name: a key of ``LOSSES``.
        options: the loss' own (see ``loss_options``); every loss has ``scale`` and ``margin``.

    Raises:
        TidyVoiceError: no such loss or option, the nearest name being named; or an option's value
            has no meaning.

    Example:
        >>> import torch
        >>> head = build_loss("AMSoftmax", 16, 1000, margin=0.2)
        >>> loss, accuracy = head(torch.randn(4, 16), torch.tensor([0, 1, 2, 999]))
        >>> loss.shape
        torch.Size([])
    """
    known = loss_options(name)
    for option in options:
        if option not in known:
            raise TidyVoiceError(f"{name} has no option {option!r}: {_mend(option, known)}")
    return LOSSES[name](embed_dim, num_classes, **options)


def _mend(given: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
