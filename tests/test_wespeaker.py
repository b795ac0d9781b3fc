import pytest

from tidyvoice.errors import TidyVoiceError
from tidyvoice.frontend import FrontendSettings
from tidyvoice.modelhub.wespeaker import BUILT_IN, frontend_settings, model_of


def test_a_published_config_is_read_tolerantly():
    published = {
        "frontend": "fbank",
        "fbank_args": {"num_mel_bins": 80, "frame_shift": 10, "frame_length": 25, "dither": 1.0},
        "resample_rate": 16000,
        "cmvn": True,
        "cmvn_args": {"norm_mean": True, "norm_var": False},
        "speed_perturb": True,
        "shuffle_args": {"shuffle_size": 2500},
    }
    assert frontend_settings(published, "x.yaml") == FrontendSettings()
    assert frontend_settings({"fbank_args": None, "cmvn_args": None}, "x") == FrontendSettings()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"frontend": "s3prl"}, "only fbank is"),
        ({"cmvn_args": {"norm_var": True}}, "norm_var is not supported"),
        ({"fbank_args": {"low_freq": 100}}, "fbank_args.low_freq 100 is not supported: only 20.0"),
        ({"fbank_args": {"num_mel_bin": 80}}, "did you mean num_mel_bins"),
        ({"fbank_args": [80]}, "not a group of settings"),
        ({"fbank_args": {"window_type": "blackman"}}, "window_type"),
        ({"resample_rate": 8000}, "sample_rate"),
    ],
)
def test_a_frontend_that_ours_is_not_is_refused(arguments, message):
    with pytest.raises(TidyVoiceError, match=message):
        frontend_settings(arguments, "x.yaml")


def test_arguments_of_the_filterbank_that_say_what_ours_does_are_accepted():
    assert frontend_settings({"fbank_args": {**BUILT_IN, "dither": 0.0}}, "x") == FrontendSettings(
        dither=0.0
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"embed_dim": 8, "in_planes": 2},
        {"embed_dim": 8, "in_planes": 2, "acoustic_dim": 80, "dropout": 0},
        {"embed_dim": 8, "in_planes": 2, "feat_dim": 80, "pooling_func": "ASP"},
        {"embed_dim": 8, "in_planes": 2, "two_emb_layer": False, "dropout": 0.1},
    ],
)
def test_the_same_model_said_in_other_arguments(arguments):
    model, frontend = model_of({"model": "SimAM_ResNet34_ASP", "model_args": arguments}, "x")
    assert model.front.conv1.out_channels == 2
    assert model.embed_dim == 8
    assert frontend == FrontendSettings()


def test_the_published_arguments_are_few_and_the_rest_has_the_published_defaults():
    model, _ = model_of({"model": "SimAM_ResNet34_ASP", "model_args": {"embed_dim": 256}}, "x")
    assert sum(parameter.numel() for parameter in model.parameters()) == 25_213_760


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "x: the key model is missing"),
        ({"model": ["SimAM_ResNet34_ASP"]}, "x: the key model is missing"),
        ({"model": "XVector"}, "x: no model is called 'XVector'"),
        ({"model_args": {"pooling_func": "TSTP"}}, "pooling_func: .*ASP"),
        ({"model_args": {"two_emb_layer": True}}, "two_emb_layer: .*False"),
        ({"model_args": {"feat_dim": 40}}, "feat_dim is 40, but fbank_args.num_mel_bins is 80"),
        ({"model_args": {"acoustic_dim": 72}}, "acoustic_dim is 72, but"),
        ({"model_args": {"embed_dims": 256}}, "did you mean embed_dim"),
        ({"model_args": {"in_planes": "wide"}}, "in_planes: .* 'wide'"),
        ({"model_args": [64]}, "model_args is .* not a group of settings"),
        ({"dataset_args": "none"}, "dataset_args is 'none', not a group of settings"),
    ],
)
def test_a_model_that_ours_is_not_is_refused_by_the_argument(config, message):
    if config:
        config = {"model": "SimAM_ResNet34_ASP", **config}
    with pytest.raises(TidyVoiceError, match=message):
        model_of(config, "x")
