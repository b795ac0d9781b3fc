"""The real training and extraction on a pretended GPU: no device mix-up, and no waiting host."""

import numpy as np
import pytest
import torch
from conftest import require_triton
from test_resumed import CASES
from test_trainer import final_state, run

from benchmarks.pretend_cuda import PretendCuda
from tests.losses.reference import CASES as LOSSES
from tidyvoice.config import Experiment
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.extraction.extract import extract
from tidyvoice.frontends import FrontendSettings
from tidyvoice.models import build_model
from tidyvoice.scoring.embeddings import load_embeddings
from tidyvoice.training.checkpoint import epoch_checkpoints
from tidyvoice.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("shallow")

STEPS = CASES | {
    "bf16": {"precision": "bf16"},
    "clipped": {"clip_gradient": 1.0, "gradient_accumulation": 2},
    "checkpointing": {"model": {"activation_checkpointing": True}},
    **{
        f"{name} {options}": {"loss": {"name": name, "args": options}}
        for name, options in LOSSES
        if "margin" not in options  # the trainer decides it
    },
}


@pytest.fixture
def gpu():
    require_triton()
    with PretendCuda() as device:
        yield device


def merged(experiment: dict, changes: dict) -> dict:
    """Return the settings of a training on the device, with changes."""
    experiment = {**experiment, "device": "cuda"}
    for key, value in changes.items():
        experiment[key] = {**experiment.get(key, {}), **value} if isinstance(value, dict) else value
    return experiment


@pytest.mark.parametrize("case", STEPS)
def test_a_step_does_not_wait(experiment, gpu, case):
    settings = Experiment.model_validate(merged(experiment, STEPS[case]))
    trainer = Trainer(settings)
    trainer.network.train()
    trainer.network.begin_average()
    count = settings.gradient_accumulation
    batches = iter([trainer.data[index].pin_memory() for index in range(2 * count)])
    trainer._step(trainer.network, batches)
    gpu.clear()
    trainer._step(trainer.network, batches)
    assert gpu.operations
    assert gpu.waits == []


def test_a_training_computes_what_the_cpu_computes(experiment, tmp_path, validation):
    """With validation and a moving average, and resumed."""
    require_triton()
    experiment["model"]["ema_decay"] = 0.5
    experiment["validation"] = validation
    expected = final_state(run({**experiment, "experiment": str(tmp_path / "cpu")}).folder)
    with PretendCuda():
        folder = run(merged(experiment, {})).folder
        max(epoch_checkpoints(folder).items())[1].unlink()
        run(merged(experiment, {}))
    for part in ("model", "average", "loss"):
        for name, value in final_state(folder)[part].items():
            torch.testing.assert_close(value, expected[part][name])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_extraction_waits_for_results_only(gpu, tiny, tmp_path, precision):
    torch.manual_seed(1)
    model = build_model("SimAM_ResNet34_ASP", in_planes=4, embed_dim=16)
    model.initialise()
    for device in ("cpu", "cuda"):
        encoder = SpeakerEncoder(model, FrontendSettings(), device, precision=precision)
        gpu.clear()
        extract(encoder, tiny / "train", tmp_path / f"{device}.npz", memory_mib=1)
    assert len(gpu.waits) > 3
    assert {wait.split(" ", 1)[1].split(":")[0] for wait in gpu.waits} == {"an event"}
    tables = [load_embeddings(tmp_path / f"{device}.npz").vectors for device in ("cpu", "cuda")]
    difference = np.linalg.norm(tables[1] - tables[0]) / np.linalg.norm(tables[0])
    assert difference < (1e-5 if precision == "float32" else 0.05)
