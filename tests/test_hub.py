"""Model folders: layouts, weights, and settings as WeSpeaker writes them."""

import shutil
import zipfile

import pytest
import torch
import yaml
from conftest import fill_weights, refused
from safetensors.torch import save_file

from tidyvoice.config import ModelSettings
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.frontend import FrontendSettings
from tidyvoice.modelhub.folder import (
    fingerprint,
    load_model,
    save_model_config,
    save_torch,
)
from tidyvoice.modelhub.wespeaker import builder_of, frontend_settings
from tidyvoice.models import build_model

NAME = "SimAM_ResNet34_ASP"
SMALL = {"in_planes": 2, "embed_dim": 8}
FRONTEND = FrontendSettings(args={"num_mel_bins": 40, "dither": 0.5, "mean_norm": False})


@pytest.fixture
def model():
    return build_model(NAME, acoustic_dim=40, **SMALL)


@pytest.fixture
def folder(model, tmp_path):
    save_model_config(tmp_path, ModelSettings(args=SMALL), FRONTEND, ["id1", "id2"])
    save_torch(tmp_path / "avg_model.pt", model.state_dict())
    return tmp_path


def test_a_folder_gives_back_model_and_frontend(model, folder):
    loaded, frontend = load_model(folder)
    assert not loaded.training
    assert frontend == FRONTEND
    assert fingerprint(loaded, frontend) == fingerprint(model, frontend)


@pytest.mark.parametrize("above", ["", "one/inner"])
def test_of_several_layouts_the_first_is_read(model, folder, above, tmp_path):
    (folder / "avg_model.pt").unlink()
    inside = tmp_path / "outer" / above
    shutil.copytree(folder, inside)
    for name in ("models/model.safetensors", "models/avg_model.pt", "model.safetensors"):
        (inside / name).parent.mkdir(exist_ok=True)
        state = model.state_dict()
        state["bottleneck.bias"] += 1
        save = save_torch if name.endswith(".pt") else lambda path, s: save_file(s, path)
        save(inside / name, state)
        encoder = SpeakerEncoder.from_pretrained(tmp_path / "outer", "cpu")
        assert torch.equal(encoder.model.bottleneck.bias, state["bottleneck.bias"])
        assert encoder.trained_on == ["id1", "id2"]


def test_the_config_beside_the_weights_is_preferred(folder):
    shutil.copytree(folder, folder / "exp" / "models")
    (folder / "exp" / "config.yaml").write_text("epochs: 3\n")
    assert load_model(folder / "exp")[1] == FRONTEND


def test_a_training_checkpoint_of_wespeaker_is_read_without_its_classifier(tmp_path):
    model = fill_weights(build_model(NAME, **SMALL), seed=2)
    state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    state["module.projection.weight"] = torch.zeros(3666, 8)
    state["module.frontend.placeholder"] = torch.zeros(1)
    save_torch(tmp_path / "avg_model.pt", state)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"model": NAME, "model_args": SMALL}))
    with pytest.warns(UserWarning, match="no dataset_args.fbank_args: WeSpeaker's usual 80 bins"):
        loaded, frontend = load_model(tmp_path)
    assert frontend == FrontendSettings()
    assert fingerprint(loaded, frontend) == fingerprint(model, frontend)


def test_tensors_that_do_not_fit_are_named(model, folder):
    state = model.state_dict()
    del state["front.conv1.weight"], state["front.bn1.bias"]
    state["bottleneck.bias"] = torch.zeros(9)
    state["extra"] = torch.zeros(1)
    save_torch(folder / "avg_model.pt", state)
    missing = "front.conv1.weight is missing; front.bn1.bias is missing; extra is unknown"
    with pytest.raises(TidyVoiceError, match=f"avg_model.pt .*: {missing}; and 1 more"):
        load_model(folder)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.full((8,), torch.nan), "is not finite"),
        (torch.zeros(1).expand(10**9), "claims 1,000,000,000 values"),
    ],
)
def test_weights_that_are_no_numbers_are_named(model, folder, value, message):
    save_torch(folder / "avg_model.pt", {**model.state_dict(), "bottleneck.bias": value})
    assert f"avg_model.pt: bottleneck.bias {message}" in refused(load_model, folder)


def test_compressed_weights_are_refused(folder):
    with zipfile.ZipFile(folder / "avg_model.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("avg_model/data.pkl", "0" * 1000)
    assert "not a readable file of weights (compressed)" in refused(load_model, folder)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("model.zip", "`tidyvoice fetch-model model.zip --out FOLDER`"),
        ("someone/a-model", "`tidyvoice fetch-model someone/a-model --out FOLDER`"),
        ("empty", "empty holds no avg_model.pt, model.safetensors or models/avg_model.pt"),
        ("/no/such/place", "/no/such/place: no model folder: give one with avg_model.pt"),
        ("two", "two holds several models: give one of a; b"),
        ("no-config", "no-config holds avg_model.pt, but no config.yaml beside it"),
        ("no-config/avg_model.pt", "config.yaml is missing: add the one that names the network"),
    ],
)
def test_other_sources_are_refused_in_one_line(folder, monkeypatch, source, message):
    monkeypatch.chdir(folder)
    (folder / "model.zip").write_bytes(b"")
    for name in ("empty", "no-config", "two/a", "two/b/models"):
        (folder / name).mkdir(parents=True)
    for name in ("no-config", "two/a", "two/b/models"):
        shutil.copy("avg_model.pt", name)
    assert message in refused(load_model, source)


def test_wespeaker_reads_our_settings_and_we_read_them_back(folder):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    arguments = {"num_mel_bins", "frame_length", "frame_shift", "dither"}  # of its compute_fbank
    assert set(config["dataset_args"]["fbank_args"]) == arguments
    assert config["dataset_args"]["cmvn_args"] == {"norm_mean": False, "norm_var": False}
    assert builder_of(config, "x")[1] == FRONTEND


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
    for arguments in (
        {"acoustic_dim": 80, "dropout": 0},
        {"feat_dim": 80, "pooling_func": "ASP", "two_emb_layer": False, "dropout": 0.1},
    ):
        config = {"model": NAME, "model_args": SMALL | arguments, "dataset_args": published}
        assert builder_of(config, "x")[0]().front.conv1.out_channels == 2


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model": None}, "x: the key model is missing"),
        ({"model": "XVector"}, "x: no model is called 'XVector'"),
        ({"model_args": {"embed_dims": 256}}, "did you mean embed_dim"),
        ({"dataset_args": {"frontend": "s3prl"}}, "x: .*no front end is called 's3prl'"),
        ({"dataset_args": {"cmvn_args": {"norm_var": True}}}, "norm_var is not supported"),
        ({"dataset_args": {"resample_rate": 8000}}, "resample_rate 8000 .*: only 16000"),
    ],
)
def test_an_unknown_model_or_front_end_is_an_error_that_names_the_key(config, message):
    with pytest.raises(TidyVoiceError, match=message):
        builder_of({"model": NAME, **config}, "x")[0]()
