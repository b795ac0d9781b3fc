"""A registered front end, network, pooling or loss works in every command."""

import re
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
import yaml
from conftest import prepared, succeed

from tidyvoice import SpeakerEncoder
from tidyvoice.augmentations import AUGMENTATIONS
from tidyvoice.config import Experiment
from tidyvoice.export.onnx_encoder import OnnxEncoder
from tidyvoice.frontends import FRONTENDS
from tidyvoice.losses import LOSSES
from tidyvoice.models import MODELS, campplus, ecapa_tdnn
from tidyvoice.models.pooling import MQMHASTP, POOLINGS
from tidyvoice.optimizers import OPTIMIZERS
from tidyvoice.samplers import SAMPLERS
from tidyvoice.schedules import LEARNING_RATES
from tidyvoice.scoring.embeddings import load_embeddings
from tidyvoice.training.average import average_checkpoints
from tidyvoice.training.trainer import Trainer

EXTENDING = Path(__file__).parents[2] / "docs/extending.md"
FBANK = {"name": "fbank", "args": {"num_mel_bins": 24, "frame_shift": 12.5}}
# Network, arguments that make it narrow, front end.
CASES = [
    ("MeanOfFrames", {"hidden": 7}, {"name": "learned_filters", "args": {"filters": 5}}),
    ("ResNet293", {"m_channels": 2, "pooling_func": "MQMHASTP"}, FBANK),
    ("ECAPA_TDNN_GLOB_c512", {"channels": 8}, FBANK),
    ("CAMPPlus", {"growth_rate": 4, "bn_size": 2, "init_channels": 8}, FBANK),
    ("ReDimNetB2", {"C": 8, "pooling_func": "MAX"}, FBANK),
]


@pytest.fixture
def components(monkeypatch):
    """Register the components of docs/extending.md, and make the networks of CASES shallow.

    An export takes seconds for every ten layers.
    """
    registries = [FRONTENDS, MODELS, POOLINGS, LOSSES, OPTIMIZERS, LEARNING_RATES, SAMPLERS]
    with ExitStack() as stack:
        for registry in (*registries, AUGMENTATIONS):
            stack.enter_context(patch.dict(registry))
        text, settings = EXTENDING.read_text(), {}
        for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
            exec(code, {"__name__": "own"})
        for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
            for key, values in yaml.safe_load(block).items():
                settings.setdefault(key, {}).update(values)
        monkeypatch.setattr(campplus, "DENSE_BLOCKS", ((2, 1),))
        monkeypatch.setattr(ecapa_tdnn, "PARTS", 2)
        POOLINGS["MQMHASTP"] = partial(MQMHASTP, heads=2)
        resnet = MODELS["ResNet293"]
        MODELS["ResNet293"] = partial(resnet.func, resnet.args[0], (1, 1, 1, 1))
        stages, block = MODELS["ReDimNetB2"].args
        MODELS["ReDimNetB2"] = partial(MODELS["ReDimNetB2"].func, stages[1:2], block)
        yield settings


@pytest.mark.parametrize(("name", "args", "frontend"), CASES, ids=[case[0] for case in CASES])
def test_a_network_works_in_every_command(experiment, components, tmp_path, name, args, frontend):
    experiment |= {key: values for key, values in components.items() if key != "data"}
    experiment["data"] |= components["data"]
    experiment["model"] = {"name": name, "args": {"embed_dim": 6, **args}}
    experiment["frontend"] = frontend
    experiment |= {"epochs": 1, "epoch_iterations": 2}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(experiment))
    assert "the settings are valid" in succeed("train", tmp_path / "x.yaml", "--check")
    assert not Path(experiment["experiment"]).exists()
    trainer = Trainer(Experiment.model_validate(experiment))
    before = {key: tensor.clone() for key, tensor in trainer.network.model.state_dict().items()}
    trainer.run()
    trained = [key for key, _ in trainer.network.model.named_parameters()]
    after = trainer.network.model.state_dict()
    changed = {key for key in trained if not torch.equal(before[key], after[key])}
    assert ("frontend.filters.weight" in changed) == (frontend["name"] == "learned_filters")

    average_checkpoints(trainer.folder)
    model = trainer.folder / "models"
    config = yaml.safe_load((model / "config.yaml").read_text())
    assert args.items() <= config["model_args"].items()
    encoder = SpeakerEncoder.from_pretrained(model, device="cpu")
    assert config["model_args"]["feat_dim"] == encoder.frontend.feature_dim
    waveforms = 0.1 * np.random.default_rng(1).standard_normal((2, 16000)).astype(np.float32)
    features = encoder.frontend(torch.from_numpy(waveforms))
    assert features.shape[1:] == (encoder.frontend.num_frames(16000), encoder.frontend.feature_dim)
    with torch.no_grad():
        expected = encoder.model(features).numpy()
    np.testing.assert_allclose(
        encoder.embed_waveforms(waveforms), expected, rtol=1e-3, atol=1e-4 * abs(expected).max()
    )

    data = prepared(tmp_path / "data", speakers=2, utterances=2, seconds=1.0)
    succeed("extract", "--model", model, "--data", data, "--out", tmp_path / "e.npz")
    assert load_embeddings(tmp_path / "e.npz").vectors.shape == (4, 6)
    succeed("hub", "push", model, "me/model", "--licence", "mit", "--out", tmp_path / "card")
    card = (tmp_path / "card" / "README.md").read_text()
    assert f"Network: {name}" in card
    assert f"front end {frontend['name']}" in card
    # `export` compares the file with the model.
    succeed("export", "--model", tmp_path / "card", "--out", tmp_path / "model.onnx")
    samples = (32768 * waveforms).astype(np.int16)
    exported = OnnxEncoder(tmp_path / "model.onnx").embed_samples(samples)
    np.testing.assert_allclose(exported, expected, rtol=0.01, atol=0.01 * abs(expected).max())
