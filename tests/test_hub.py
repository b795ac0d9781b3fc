import errno

import pytest
import safetensors.torch
import torch
import yaml
from conftest import small_disk

from tidyvoice.config import ModelSettings
from tidyvoice.errors import TidyVoiceError
from tidyvoice.frontend import FrontendSettings
from tidyvoice.hub import frontend_settings, load_model, save_model_config, save_torch
from tidyvoice.models import build_model

SETTINGS = ModelSettings(in_planes=2, embed_dim=8)


@pytest.fixture
def model():
    return build_model("SimAM_ResNet34_ASP", in_planes=2, embed_dim=8)


@pytest.fixture
def folder(model, tmp_path):
    save_model_config(tmp_path, SETTINGS, FrontendSettings(dither=0.5), ["id1", "id2"])
    save_torch(tmp_path / "avg_model.pt", model.state_dict())
    return tmp_path


def test_a_folder_gives_back_model_and_frontend(model, folder):
    loaded, frontend = load_model(folder)
    assert not loaded.training
    assert frontend == FrontendSettings(dither=0.5)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])


def test_safetensors_serve_as_well(model, folder):
    (folder / "avg_model.pt").unlink()
    safetensors.torch.save_file(model.state_dict(), folder / "model.safetensors")
    loaded, _ = load_model(folder)
    assert torch.equal(loaded.bottleneck.weight, model.bottleneck.weight)


def test_what_published_checkpoints_carry_beside_the_model_is_left_out(model, folder):
    state = {f"module.{name}": tensor.float() for name, tensor in model.state_dict().items()}
    state["module.projection.weight"] = torch.zeros(5, 8)
    save_torch(folder / "avg_model.pt", state)
    loaded, _ = load_model(folder)
    assert torch.equal(loaded.bottleneck.weight, model.bottleneck.weight)


def test_weights_that_do_not_fit_are_all_named_and_none_is_loaded(model, folder):
    state = model.state_dict()
    del state["front.conv1.weight"]
    state["extra"] = torch.zeros(1)
    state["bottleneck.bias"] = torch.zeros(9)
    save_torch(folder / "avg_model.pt", state)
    with pytest.raises(TidyVoiceError) as error:
        load_model(folder)
    for problem in ("front.conv1.weight is missing", "extra is unknown", "bottleneck.bias is (9,)"):
        assert problem in str(error.value)


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
        ({"fbank_args": {"low_freq": 100}}, "unknown key low_freq"),
        ({"fbank_args": {"window_type": "blackman"}}, "window_type"),
        ({"resample_rate": 8000}, "sample_rate"),
    ],
)
def test_a_frontend_that_ours_is_not_is_refused(arguments, message):
    with pytest.raises(TidyVoiceError, match=message):
        frontend_settings(arguments, "x.yaml")


def test_missing_parts_of_a_folder_are_named(folder):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump({"model_args": config["model_args"]}))
    with pytest.raises(TidyVoiceError, match="the key model is missing"):
        load_model(folder)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "avg_model.pt").write_bytes(b"nonsense")
    with pytest.raises(TidyVoiceError, match=r"avg_model\.pt cannot be read"):
        load_model(folder)
    torch.save([1, 2], folder / "avg_model.pt")
    with pytest.raises(TidyVoiceError, match="holds no state dict"):
        load_model(folder)
    (folder / "avg_model.pt").unlink()
    (folder / "model.safetensors").write_bytes(b"nonsense, but long enough")
    with pytest.raises(TidyVoiceError, match=r"model\.safetensors cannot be read"):
        load_model(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(TidyVoiceError, match=r"holds no avg_model\.pt or model\.safetensors"):
        load_model(folder)


def test_a_full_disk_is_an_os_error_and_leaves_nothing(tmp_path):
    with small_disk(tmp_path, "1m"):
        with pytest.raises(OSError, match="No space left") as error:
            save_torch(tmp_path / "avg_model.pt", {"x": torch.zeros(1_000_000)})
        assert error.value.errno == errno.ENOSPC
        assert list(tmp_path.iterdir()) == []
