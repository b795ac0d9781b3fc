"""Checks of an experiment's settings before it runs, without its data."""

import torch

from tidyvoice.audio import load_torchaudio
from tidyvoice.config import Experiment
from tidyvoice.training.head import head_file
from tidyvoice.training.network import Network, parameter_groups
from tidyvoice.training.objective import build_objective
from tidyvoice.training.start import start_from_model
from tidyvoice.training.state import check_settings_of


def check_experiment(settings: Experiment, initial: bool = False) -> None:
    """Check whatever can go wrong without data.

    Args:
        initial: also load the initial model, if there is one.

    Raises:
        TidyVoiceError: the experiment folder belongs to other settings, the network or the loss
            cannot be built, or the initial model does not fit.
    """
    check_settings_of(settings)
    with torch.device("meta"):  # some arguments are only checked when the network is built
        model = settings.build_model()
        # The names of the parameters do not depend on the number of classes.
        objective = build_objective(settings, num_classes=10_000, num_languages=2)
    parameter_groups(settings, Network(model, objective, bf16=False, ema_decay=None))
    if set(settings.data.speeds) != {1.0}:
        load_torchaudio()
    if initial and settings.model.init:
        check_initial_model(settings)


def check_initial_model(settings: Experiment) -> list[str]:
    """Load ``settings.model.init`` into a network that is thrown away.

    Returns:
        What a training logs about it.

    Raises:
        TidyVoiceError: see ``start_from_model`` and ``head_file``.
    """
    if settings.loss.init == "checkpoint":
        head_file(settings)
    return start_from_model(settings.build_model(), settings)
