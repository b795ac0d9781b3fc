import pytest

from tidyvoice.errors import TidyVoiceError
from tidyvoice.frontends import FrontendSettings
from tidyvoice.frontends.fbank import BUILT_IN
from tidyvoice.modelhub.wespeaker import frontend_settings, model_of

NAME = "SimAM_ResNet34_ASP"


def test_keys_that_do_not_affect_embeddings_are_ignored():
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
    with pytest.warns(UserWarning, match="no dataset_args.fbank_args: WeSpeaker's usual 80 bins"):
        assert frontend_settings({"fbank_args": None, "cmvn_args": None}, "x") == FrontendSettings()


def test_what_is_read_is_what_was_written():
    args = {"num_mel_bins": 40, "window_type": "povey", "dither": 0.0, "mean_norm": False}
    for settings in (FrontendSettings(), FrontendSettings(args=args)):
        written = settings.to_wespeaker()
        assert ("window_type" in written["fbank_args"]) == (settings != FrontendSettings())
        written["fbank_args"] |= BUILT_IN
        assert frontend_settings(written, "x") == settings


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"acoustic_dim": 80, "dropout": 0},
        {"feat_dim": 80, "pooling_func": "ASP", "two_emb_layer": False, "dropout": 0.1},
    ],
)
def test_the_arguments_of_every_version_of_wespeaker_build_the_model(arguments):
    arguments = {"embed_dim": 8, "in_planes": 2, **arguments}
    model, frontend = model_of({"model": NAME, "model_args": arguments}, "x")
    assert model.front.conv1.out_channels == 2
    assert model.embed_dim == 8
    assert frontend == FrontendSettings()


def test_arguments_that_are_left_out_have_the_published_defaults():
    model, _ = model_of({"model": NAME, "model_args": {"embed_dim": 256}}, "x")
    assert sum(parameter.numel() for parameter in model.parameters()) == 25_213_760


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model": None}, "x: the key model is missing"),
        ({"model": [NAME]}, "x: the key model is missing"),
        ({"model": "XVector"}, "x: no model is called 'XVector'"),
        ({"model_args": {"pooling_func": "ATSP"}}, "pooling_func: did you mean"),
        ({"model_args": {"two_emb_layer": True}}, "two_emb_layer: .*False"),
        ({"model_args": {"feat_dim": 40}}, "model_args.feat_dim is 40, .* fbank computes 80"),
        ({"model_args": {"acoustic_dim": 72}}, "acoustic_dim is 72, but"),
        ({"model_args": {"embed_dims": 256}}, "did you mean embed_dim"),
        ({"model_args": {"in_planes": "wide"}}, "in_planes: .* 'wide'"),
        ({"model_args": [64]}, "model_args is .* not a group of settings"),
        ({"dataset_args": "none"}, "dataset_args is 'none', not a group of settings"),
        ({"dataset_args": {"frontend": "s3prl"}}, "x: .*no front end is called 's3prl'"),
        ({"dataset_args": {"cmvn_args": {"norm_var": True}}}, "norm_var is not supported"),
        ({"dataset_args": {"fbank_args": {"low_freq": 100}}}, "low_freq 100 .*: only 20.0"),
        ({"dataset_args": {"fbank_args": {"num_mel_bin": 80}}}, "did you mean num_mel_bins"),
        ({"dataset_args": {"fbank_args": [80]}}, "not a group of settings"),
        ({"dataset_args": {"fbank_args": {"window_type": "blackman"}}}, "x: .*window_type"),
        ({"dataset_args": {"resample_rate": 8000}}, "resample_rate 8000 .*: only 16000"),
    ],
)
def test_an_unknown_model_or_front_end_is_an_error_that_names_the_key(config, message):
    with pytest.raises(TidyVoiceError, match=message):
        model_of({"model": NAME, **config}, "x")
