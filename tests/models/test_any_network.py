"""A network that is registered works everywhere: training, extraction, export, card."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import prepared
from typer.testing import CliRunner

from tidyvoice import SpeakerEncoder
from tidyvoice.cli import app
from tidyvoice.config import Experiment
from tidyvoice.losses import LOSSES
from tidyvoice.models import MODELS
from tidyvoice.scoring.embeddings import load_embeddings
from tidyvoice.training.average import average_checkpoints
from tidyvoice.training.trainer import Trainer

EXTENDING = Path(__file__).parents[2] / "docs/extending.md"


@pytest.fixture
def own_components(monkeypatch):
    """The network and the loss of docs/extending.md, as the page has them."""
    for registry in (MODELS, LOSSES):
        monkeypatch.setattr(registry, "_components", dict(registry._components))
    for code in re.findall(r"```python\n(.*?)```", EXTENDING.read_text(), re.DOTALL):
        exec(code, {"__name__": "own"})


def run(*arguments):
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.usefixtures("own_components")
@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("MeanOfFrames", {"embed_dim": 6, "hidden": 7}),
        ("ResNet34", {"m_channels": 2, "embed_dim": 6, "pooling_func": "MQMHASTP"}),
        ("ECAPA_TDNN_GLOB_c512", {"channels": 16, "embed_dim": 6}),
    ],
)
def test_a_network_trains_extracts_and_shows_everywhere(experiment, tmp_path, name, args):
    experiment["model"] = {"name": name, "args": args}
    experiment["loss"] = {"name": "QuadraticMargin", "args": {"growth": 1.0}}
    experiment |= {"epochs": 1, "epoch_iterations": 2}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(experiment))
    run("train", tmp_path / "x.yaml", "--check")
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
