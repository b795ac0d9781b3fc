"""The real training and extraction on a pretended GPU: no device mix-up, and no waiting host."""

import threading

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
            # A wrong step would change the weights by far more than other rounding.
            torch.testing.assert_close(value, expected[part][name], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_extraction_launches_a_batch_before_it_waits_for_the_one_before(
    gpu, tiny, tmp_path, precision, monkeypatch
):
    torch.manual_seed(1)
    model = build_model("SimAM_ResNet34_ASP", in_planes=2, embed_dim=16)
    model.initialise()
    launched, late, another, batches = [], [], threading.Condition(), 4  # as many lengths

    class Event(torch.cuda.Event):
        def record(self, stream: torch.device | None = None) -> None:
            assert stream == torch.device("cuda", 0)
            with another:
                launched.append(self)
                another.notify_all()

        def synchronize(self) -> None:
            with another:
                wanted = min(launched.index(self) + 2, batches)
                if not another.wait_for(lambda: len(launched) >= wanted, timeout=60):
                    late.append(self)
            super().synchronize()

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: device)
    for device in ("cpu", "cuda:0"):
        encoder = SpeakerEncoder(model, FrontendSettings(), device, precision=precision)
        gpu.clear()
        extract(encoder, tiny / "train", tmp_path / f"{device}.npz")
    assert len(launched) == len(gpu.waits) == batches
    assert {wait.split(" ", 1)[1].split(":")[0] for wait in gpu.waits} == {"an event"}
    assert not late
    tables = [load_embeddings(tmp_path / f"{name}.npz").vectors for name in ("cpu", "cuda:0")]
    difference = np.linalg.norm(tables[1] - tables[0]) / np.linalg.norm(tables[0])
    assert difference < (1e-5 if precision == "float32" else 0.05)
