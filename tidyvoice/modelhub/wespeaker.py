"""What a WeSpeaker config.yaml says of a model and of its features, in the terms used here.

Such a file also holds the whole training, and differs with the age of the toolkit. What does not
concern the embeddings is ignored; what does must be understood, or it is refused by its name.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
from tidyvoice.frontend import FrontendSettings
from tidyvoice.model_files import VOXBLINK2
from tidyvoice.models import MODELS, EmbeddingModel
from tidyvoice.settings import read_yaml, validate

# Arguments of Kaldi's filterbank that ours does not take, because it has these values built in.
BUILT_IN = {
    "low_freq": 20.0,
    "high_freq": 0.0,
    "preemphasis_coefficient": 0.97,
    "remove_dc_offset": True,
    "round_to_power_of_two": True,
    "sample_frequency": 16000,
    "snip_edges": True,
    "use_energy": False,
    "use_log_fbank": True,
    "use_power": True,
}


def read_config(path: Path) -> dict[str, Any]:
    """Read the config.yaml of a model.

    Raises:
        TidyVoiceError: it is no YAML, or of VoxBlink2's own scripts.
    """
    try:
        return read_yaml(path)
    except TidyVoiceError:
        # Theirs are programs of hyperpyyaml, which build a front end of this name.
        if "featCal:" in path.read_text(encoding="utf-8", errors="replace"):
            raise TidyVoiceError(f"{path} is not WeSpeaker's: {VOXBLINK2}") from None
        raise


def model_of(
    config: Mapping[str, Any], source: str | Path
) -> tuple[EmbeddingModel, FrontendSettings]:
    """Build the model that a config.yaml describes, untrained; return the settings of its frontend.

    Args:
        source: the file, for error messages.

    Raises:
        TidyVoiceError: an unknown model or argument, a number of bins other than the frontend's;
            see ``frontend_settings``.
    """
    frontend = frontend_settings(section(config, "dataset_args", source), source)
    name, args = network_of(config, source)
    bins = frontend.num_mel_bins
    for key in ("acoustic_dim", "feat_dim"):
        value = section(config, "model_args", source).get(key)
        if value not in (None, bins):
            raise TidyVoiceError(
                f"{source}: model_args.{key} is {value}, but fbank_args.num_mel_bins is {bins}"
            )
    try:
        return MODELS.build(name, bins, **args), frontend
    except TidyVoiceError as error:
        raise TidyVoiceError(f"{source}: {error}") from None


def network_of(config: Mapping[str, Any], source: str | Path) -> tuple[str, dict[str, Any]]:
    """Return the name of the network of a config.yaml, and all its arguments.

    Raises:
        TidyVoiceError: an unknown model or argument.
    """
    name = config.get("model")
    if not isinstance(name, str):
        raise TidyVoiceError(f"{source}: the key model is missing: it names the network")
    given = dict(section(config, "model_args", source))
    for key in ("acoustic_dim", "feat_dim"):  # the two names of the number of mel bins
        given.pop(key, None)
    try:
        return name, MODELS.arguments(name, given)
    except TidyVoiceError as error:
        raise TidyVoiceError(f"{source}: {error}") from None


def frontend_settings(dataset_args: Mapping[str, Any], source: str | Path) -> FrontendSettings:
    """Frontend settings from the ``dataset_args`` of a config.yaml.

    Args:
        source: the file, for error messages.

    Raises:
        TidyVoiceError: a frontend other than the filterbank, an unknown or impossible argument of
            it, or normalisation of the variance.

    Warns:
        TidyVoiceWarning: the features are not named, and taken to be WeSpeaker's usual ones.
    """
    if not dataset_args.get("fbank_args"):
        warnings.warn(
            f"{source} has no dataset_args.fbank_args: WeSpeaker's usual 80 bins are assumed; "
            f"{VOXBLINK2}",
            TidyVoiceWarning,
            stacklevel=2,
        )
    kind = dataset_args.get("frontend") or "fbank"
    if kind != "fbank":
        raise TidyVoiceError(f"{source}: the frontend {kind!r} is not supported: only fbank is")
    cmvn = section(dataset_args, "cmvn_args", source)
    if cmvn.get("norm_var"):
        raise TidyVoiceError(f"{source}: cmvn_args.norm_var is not supported: only the mean is")
    fbank = section(dataset_args, "fbank_args", source)
    for name, value in BUILT_IN.items():
        if fbank.get(name, value) != value:
            raise TidyVoiceError(
                f"{source}: fbank_args.{name} {fbank[name]} is not supported: only {value} is"
            )
    values = {
        **{name: value for name, value in fbank.items() if name not in BUILT_IN},
        "sample_rate": dataset_args.get("resample_rate", 16000),
        "mean_norm": dataset_args.get("cmvn", True) and cmvn.get("norm_mean", True),
    }
    return validate(FrontendSettings, values, f"{source} dataset_args")


def section(values: Mapping[str, Any], key: str, source: str | Path) -> Mapping[str, Any]:
    """The group of settings called ``key``; an empty one where it is left out or null.

    Raises:
        TidyVoiceError: it is something else.
    """
    found = values.get(key) or {}
    if not isinstance(found, Mapping):
        raise TidyVoiceError(f"{source}: {key} is {found!r}, not a group of settings")
    return found
