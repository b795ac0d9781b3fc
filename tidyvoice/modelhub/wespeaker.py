"""Reading of a WeSpeaker config.yaml: which network it describes, and which features.

Keys that do not affect the embeddings are ignored; unknown values of the others are errors. The
argument ``source`` is the file, for error messages.
"""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
from tidyvoice.frontends import FRONTENDS, FrontendSettings, with_frontend
from tidyvoice.headers import SAMPLE_RATE
from tidyvoice.models import MODELS, EmbeddingModel

# Two names for the number of features in a frame, which the front end gives.
SIZES = ("acoustic_dim", "feat_dim")


def builder_of(
    config: Mapping[str, Any], source: str | Path
) -> tuple[Callable[[], EmbeddingModel], FrontendSettings]:
    """Return a function that builds the untrained model of a config.yaml, and its front end."""
    chosen = frontend_settings(section(config, "dataset_args", source), source)
    name, args = network_of(config, source)

    def build() -> EmbeddingModel:
        frontend = chosen.build()
        try:
            model = MODELS.build(name, frontend.feature_dim, **args)
        except TidyVoiceError as error:
            raise TidyVoiceError(f"{source}: {error}") from None
        return with_frontend(model, frontend)

    return build, chosen


def network_of(config: Mapping[str, Any], source: str | Path) -> tuple[str, dict[str, Any]]:
    """Return the name of the network of a config.yaml, and all its arguments."""
    name = config.get("model")
    if not isinstance(name, str):
        raise TidyVoiceError(f"{source}: the key model is missing: it names the network")
    args = section(config, "model_args", source).items()
    try:
        return name, MODELS.arguments(name, {k: v for k, v in args if k not in SIZES})
    except TidyVoiceError as error:
        raise TidyVoiceError(f"{source}: {error}") from None


def frontend_settings(dataset_args: Mapping[str, Any], source: str | Path) -> FrontendSettings:
    """Return the front end that the ``dataset_args`` of a config.yaml describe."""
    name = dataset_args.get("frontend") or "fbank"
    if not isinstance(name, str):
        raise TidyVoiceError(f"{source}: dataset_args.frontend is {name!r}, not a name")
    args = section(dataset_args, f"{name}_args", source)
    if name == "fbank" and not args:
        text = f"{source} has no dataset_args.fbank_args: WeSpeaker's usual 80 bins are assumed"
        warnings.warn(text, TidyVoiceWarning, stacklevel=2)
    section(dataset_args, "cmvn_args", source)
    rate = dataset_args.get("resample_rate", SAMPLE_RATE)
    try:
        if rate != SAMPLE_RATE:
            raise TidyVoiceError(f"resample_rate {rate} is not supported: only {SAMPLE_RATE} is")
        args = FRONTENDS[name].from_wespeaker(dataset_args, args)
        return FrontendSettings(name=name, args=FRONTENDS.arguments(name, args))
    except TidyVoiceError as error:
        raise TidyVoiceError(f"{source}: dataset_args: {error}") from None


def section(values: Mapping[str, Any], key: str, source: str | Path) -> Mapping[str, Any]:
    """Return the group of settings ``key``, which is empty if it is left out or null."""
    group = {} if values.get(key) is None else values[key]
    if not isinstance(group, Mapping):
        raise TidyVoiceError(f"{source}: {key} is {group!r}, not a group of settings")
    return group
