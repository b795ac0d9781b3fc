"""Model folders: layouts, weights and their settings."""

import errno
import os
import shutil

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml
from conftest import reference_weights, seeded, small_disk

from tidyvoice.config import ModelSettings
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
from tidyvoice.frontend import FrontendSettings
from tidyvoice.modelhub.folder import (
    WeightsMismatch,
    load_model,
    model_files,
    save_model_config,
    save_torch,
)
from tidyvoice.modelhub.wespeaker import model_of, read_config
from tidyvoice.models import build_model

SETTINGS = ModelSettings(args={"in_planes": 2, "embed_dim": 8})


@pytest.fixture
def model():
    return build_model("SimAM_ResNet34_ASP", in_planes=2, embed_dim=8)


@pytest.fixture
def folder(model, tmp_path):
    save_model_config(tmp_path, SETTINGS, FrontendSettings(args={"dither": 0.5}), ["id1", "id2"])
    save_torch(tmp_path / "avg_model.pt", model.state_dict())
    return tmp_path


def test_a_folder_gives_back_model_and_frontend(model, folder):
    loaded, frontend = load_model(folder)
    assert not loaded.training
    assert frontend == FrontendSettings(args={"dither": 0.5})
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])


LAYOUTS = (
    "avg_model.pt", "model.safetensors", "models/avg_model.pt", "models/model.safetensors",
)  # fmt: skip


def write_weights(path, bias):
    """Write weights that can be recognised by their bias."""
    state = build_model("SimAM_ResNet34_ASP", in_planes=2, embed_dim=8).state_dict()
    state["bottleneck.bias"].fill_(bias)
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".pt":
        save_torch(path, state)
    else:
        safetensors.torch.save_file(state, path)


@pytest.mark.parametrize("above", ["", "inner", "one/inner"])
def test_of_several_layouts_the_first_is_read(folder, above, tmp_path):
    (folder / "avg_model.pt").unlink()
    inside = tmp_path / "outer" / above
    shutil.copytree(folder, inside)
    for number, name in reversed(list(enumerate(LAYOUTS))):
        write_weights(inside / name, number)
        encoder = SpeakerEncoder.from_pretrained(tmp_path / "outer", "cpu")
        assert encoder.model.bottleneck.bias[0] == number
        assert encoder.trained_on == ["id1", "id2"]


def test_the_config_beside_the_weights_is_preferred(folder):
    """An experiment has another config.yaml above its model folder."""
    shutil.copytree(folder, folder / "exp" / "models")
    (folder / "exp" / "config.yaml").write_text("epochs: 3\n")
    assert load_model(folder / "exp")[1] == FrontendSettings(args={"dither": 0.5})


def test_several_models_at_one_depth_are_refused(folder):
    for name in ("b", "a/models"):
        (folder / name).mkdir(parents=True)
        shutil.copy(folder / "avg_model.pt", folder / name)
    (folder / "avg_model.pt").unlink()
    with pytest.raises(TidyVoiceError, match=" holds several models: give one of a; b"):
        load_model(folder)


def test_a_published_checkpoint_gives_the_published_embeddings(golden, tmp_path):
    case = golden["model"][0]
    weights = reference_weights(golden["state_dict"], case["seed"])
    assert len(weights) == 227
    state = {f"module.{name}": tensor.float() for name, tensor in weights.items()}
    state["module.projection.weight"] = torch.zeros(3666, 256)
    state["module.frontend.placeholder"] = torch.zeros(1)
    save_torch(tmp_path / "avg_model.pt", state)
    config = {"model": "SimAM_ResNet34_ASP", "model_args": {"embed_dim": 256}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    model, frontend = load_model(tmp_path)
    assert frontend == FrontendSettings()
    x = seeded(case["seed"], 99).standard_normal((2, case["frames"], case["acoustic_dim"]))
    with torch.no_grad():
        ours = model(torch.from_numpy((2 * x).astype(np.float32))).numpy()
    expected = np.array(case["embedding"])
    difference = np.linalg.norm(ours - expected, axis=1)
    assert (difference < 1e-4 * np.linalg.norm(expected, axis=1)).all()


def test_the_dither_of_a_published_config_is_for_training_only(folder):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    samples = (1000 * seeded(1).standard_normal((1, 8000))).astype(np.int16)
    embeddings = []
    for dither in (0.0, 1.0, 1.0):
        config["dataset_args"]["fbank_args"]["dither"] = dither
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        embeddings.append(SpeakerEncoder.from_pretrained(folder, "cpu").embed_samples(samples))
    assert (embeddings[0] == embeddings[1]).all()
    assert (embeddings[1] == embeddings[2]).all()


def test_tensors_that_do_not_fit_are_named(model, folder):
    state = model.state_dict()
    del state["front.conv1.weight"], state["front.bn1.bias"]
    state["bottleneck.bias"] = torch.zeros(9)
    state["extra"] = torch.zeros(1)
    save_torch(folder / "avg_model.pt", state)
    missing = "front.conv1.weight is missing; front.bn1.bias is missing; extra is unknown"
    with pytest.raises(WeightsMismatch, match=f"avg_model.pt .*: {missing}; and 1 more"):
        load_model(folder)


@pytest.mark.parametrize("read", [load_model, model_files])
def test_archives_and_repositories_are_fetched_first(folder, read, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "model.zip").write_bytes(b"")
    (folder / "outer").mkdir()
    accepted = "avg_model.pt, model.safetensors or models/avg_model.pt"
    for given, message in (
        ("model.zip", "`tidyvoice fetch-model model.zip --out FOLDER`"),
        ("someone/a-model", "`tidyvoice fetch-model someone/a-model --out FOLDER`"),
        ("outer", f"outer holds no {accepted}: give the folder of a model"),
        ("/no/such/place", f"no folder /no/such/place: give one with {accepted}"),
    ):
        with pytest.raises(TidyVoiceError) as error:
            read(given)
        assert message in str(error.value)


def test_missing_parts_of_a_folder_are_named(folder):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").unlink()
    with pytest.raises(TidyVoiceError, match=r"holds avg_model.pt, but no config\.yaml beside it"):
        load_model(folder)
    with pytest.raises(TidyVoiceError, match=r"config\.yaml is missing: it names the network of"):
        load_model(folder / "avg_model.pt")
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
    with pytest.raises(TidyVoiceError, match=r"holds no avg_model\.pt, model\.safetensors or"):
        load_model(folder)


def test_checkpoints_with_other_features_are_refused(model, folder):
    """VoxBlink2's own scripts give the tensors WeSpeaker's names, but need other features."""
    theirs = {**model.state_dict(), "featCal.fbankCal.mel_scale.fb": torch.zeros(257, 80)}
    save_torch(folder / "avg_model.pt", theirs)
    with pytest.raises(TidyVoiceError, match=r"holds a front end \(featCal.*use WeSpeaker's"):
        load_model(folder)
    save_torch(folder / "avg_model.pt", {"state_dict": model.state_dict(), "epoch": 3})
    with pytest.raises(TidyVoiceError, match="holds no state dict but state_dict, epoch"):
        load_model(folder)
    save_torch(folder / "avg_model.pt", model.state_dict())
    config = folder / "config.yaml"
    config.write_text("n_mels: 80\nfeatCal: !new:modules.feat.logFbankCal\n  norm_type: std\n")
    with pytest.raises(TidyVoiceError, match=r"config.yaml is not WeSpeaker's: checkpoints of Vox"):
        load_model(folder)
    arguments = {"in_planes": 2, "embed_dim": 8}
    config.write_text(yaml.safe_dump({"model": "SimAM_ResNet34_ASP", "model_args": arguments}))
    with pytest.warns(TidyVoiceWarning, match=r"no dataset_args\.fbank_args: WeSpeaker's usual"):
        load_model(folder)


def compute_fbank(data, num_mel_bins=80, frame_length=25, frame_shift=10, dither=1.0):
    """Take the arguments of WeSpeaker's function of this name."""


@pytest.mark.parametrize("window", ["hamming", "povey"])
def test_wespeaker_reads_our_settings_or_fails_on_another_window(tmp_path, window):
    settings = FrontendSettings(args={"dither": 0.5, "window_type": window})
    save_model_config(tmp_path, SETTINGS, settings, ["id1"])
    config = read_config(tmp_path / "config.yaml")
    arguments = config["dataset_args"]["fbank_args"]
    if window == "hamming":
        compute_fbank([], **arguments)
    else:
        with pytest.raises(TypeError, match="window_type"):
            compute_fbank([], **arguments)
    assert model_of(config, "x")[1] == settings


class Hostile:
    """A pickle that creates a folder when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_weights_run_no_code(folder, tmp_path):
    torch.save({"front.conv1.weight": Hostile(tmp_path / "made")}, folder / "avg_model.pt")
    with pytest.raises(TidyVoiceError, match=r"avg_model\.pt cannot be read"):
        load_model(folder)
    assert not (tmp_path / "made").exists()


def test_a_full_disk_is_an_os_error_and_leaves_nothing(tmp_path):
    with small_disk(tmp_path, "1m"):
        with pytest.raises(OSError, match="No space left") as error:
            save_torch(tmp_path / "avg_model.pt", {"x": torch.zeros(1_000_000)})
        assert error.value.errno == errno.ENOSPC
        assert list(tmp_path.iterdir()) == []
