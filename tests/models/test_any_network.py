"""A network that is registered works everywhere: training, extraction, export, doctor, card."""

import numpy as np
import pytest
import torch
import yaml
from conftest import prepared
from typer.testing import CliRunner

from tidyvoice import SpeakerEncoder
from tidyvoice.cli import app
from tidyvoice.config import Experiment
from tidyvoice.embeddings import load_embeddings
from tidyvoice.models import MODELS
from tidyvoice.models.registry import EmbeddingModel
from tidyvoice.training.average import average_checkpoints
from tidyvoice.training.trainer import Trainer


class MeanOfFrames(EmbeddingModel):
    """A network of a user: one layer and a mean over time."""

    def __init__(self, feat_dim: int, *, embed_dim: int = 4, width: int = 8):
        super().__init__()
        self.embed_dim = embed_dim
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(feat_dim, width), torch.nn.ReLU(), torch.nn.Linear(width, embed_dim)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.layers(features).mean(dim=1)


@pytest.fixture
def own_network(monkeypatch):
    monkeypatch.setitem(MODELS._components, "MeanOfFrames", MeanOfFrames)


def run(*arguments):
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.usefixtures("own_network")
@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("MeanOfFrames", {"embed_dim": 6}),
        ("ResNet34", {"m_channels": 2, "embed_dim": 6, "pooling_func": "MQMHASTP"}),
        ("ECAPA_TDNN_GLOB_c512", {"channels": 16, "embed_dim": 6}),
        ("CAMPPlus", {"growth_rate": 4, "bn_size": 2, "init_channels": 8, "embed_dim": 6}),
    ],
)
def test_a_network_trains_extracts_and_shows_everywhere(experiment, tmp_path, name, args):
    experiment["model"] = {"name": name, "args": args}
    experiment |= {"epochs": 1, "epoch_iterations": 2}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(experiment))
    assert (
        "steps of 5 chunks"
        in CliRunner().invoke(app, ["doctor", "--config", str(tmp_path / "x.yaml")]).output
    )
    trainer = Trainer(Experiment.model_validate(experiment))
    trainer.run()
    average_checkpoints(trainer.folder)
    model = trainer.folder / "models"
    config = yaml.safe_load((model / "config.yaml").read_text())
    assert (config["model"], config["model_args"]["feat_dim"]) == (name, 80)
    assert args.items() <= config["model_args"].items()
    data = prepared(tmp_path / "data", speakers=2, utterances=2, seconds=1.0)
    run("extract", "--model", model, "--data", data, "--out", tmp_path / "e.npz")
    table = load_embeddings(tmp_path / "e.npz")
    assert table.vectors.shape == (4, 6)
    encoder = SpeakerEncoder.from_pretrained(model, device="cpu")
    assert encoder.frame_bytes > 0
    waveforms = np.random.default_rng(1).standard_normal((1, 16000)).astype(np.float32)
    features = encoder.frontend(torch.from_numpy(waveforms))
    with torch.no_grad():
        np.testing.assert_allclose(
            encoder.embed_waveforms(waveforms), encoder.model(features), rtol=1e-4, atol=1e-5
        )
    run("hub", "push", model, "me/model", "--licence", "mit", "--out", tmp_path / "card")
    assert f"Network: {name}" in (tmp_path / "card" / "README.md").read_text()
