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
from tidyvoice.errors import TidyVoiceError
from tidyvoice.frontend import FrontendSettings
from tidyvoice.hub import (
    WeightsMismatch,
    load_model,
    save_model_config,
    save_torch,
    weight_file,
)
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


def test_more_tensors_than_fit_a_line_are_counted_and_kept(model, folder):
    save_torch(folder / "avg_model.pt", {"extra": torch.zeros(1)})
    with pytest.raises(
        WeightsMismatch, match=r"; and 2\d\d more \(`tidyvoice fetch-model"
    ) as error:
        load_model(folder)
    assert len(error.value.problems) == len(model.state_dict()) + 1


@pytest.mark.parametrize("read", [load_model, weight_file])
def test_what_is_no_model_folder_is_told_how_to_become_one(folder, read, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "model.zip").write_bytes(b"")
    (folder / "outer").mkdir()
    shutil.copytree(folder, folder / "outer" / "inner", ignore=shutil.ignore_patterns("outer"))
    for given, message in (
        ("model.zip", "model.zip is an archive: `tidyvoice fetch-model model.zip --out FOLDER`"),
        ("someone/a-model", "if it is a Hugging Face repository, `tidyvoice fetch-model someone/"),
        ("outer", "outer holds no avg_model.pt or model.safetensors: give outer/inner"),
        ("/no/such/place", "no folder /no/such/place: give one with avg_model.pt"),
    ):
        with pytest.raises(TidyVoiceError) as error:
            read(given)
        assert message in str(error.value)


def test_missing_parts_of_a_folder_are_named(folder):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").unlink()
    with pytest.raises(TidyVoiceError, match=r"config\.yaml is missing: it says what model"):
        load_model(folder)
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


class Hostile:
    """A pickle that would make a folder when it is loaded."""

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
