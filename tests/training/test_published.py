"""The published trainings: what their files make a training do."""

from pathlib import Path

import pytest
import torch

from tidyvoice.config import load_experiment
from tidyvoice.distributed import World
from tidyvoice.training.average import average_checkpoints
from tidyvoice.training.schedules import ExponentialDecrease, MarginSchedule
from tidyvoice.training.trainer import Trainer

CONF = Path(__file__).parents[2] / "conf/tidyvoice"
FINETUNE = CONF / "finetune_published.yaml"


@pytest.fixture
def narrow(tiny):
    """Overrides that put a narrow network and the tiny corpus in the place of the real ones."""
    folders = (f"data.{name}={tiny / name}" for name in ("train", "noise", "rirs"))
    sizes = ("model.args.in_planes=2", "model.args.embed_dim=16")
    return [*folders, *sizes, "model.init=null", "device=cpu"]


@pytest.mark.parametrize(("processes", "batches"), [(1, 2), (2, 1)])
def test_the_fine_tuning_has_the_published_steps_rates_and_margins(
    golden, narrow, processes, batches
):
    settings = load_experiment(FINETUNE, [*narrow, f"gradient_accumulation={batches}"])
    trainer = Trainer(settings, World(0, processes, torch.device("cpu")))
    assert trainer.epoch_iterations == 5463
    assert trainer.total == 32_778
    assert trainer.step_chunks == settings.reference_batch_size == 48
    assert trainer.data.num_classes == len(trainer.data.speakers)
    # Golden numbers check these two schedules (test_schedules.py), in epochs of other lengths.
    (rate,) = (c["args"] for c in golden["lr_schedule"] if c["args"]["scale_ratio"] == 0.75)
    margins = (c["args"] for c in golden["margin_schedule"])
    (margin,) = (args for args in margins if args["increase_start_epoch"] == 0)
    rate = ExponentialDecrease(**{**rate, "epoch_iter": 5463})
    margin = MarginSchedule(**{**margin, "epoch_iter": 5463})
    for iteration in (0, 1, 5463, 10_925, 10_926, 32_777):
        assert trainer.learning_rate.at(iteration) == pytest.approx(rate.at(iteration), rel=1e-6)
        assert trainer.margin.at(iteration) == pytest.approx(margin.at(iteration), abs=1e-9)


def test_from_scratch_the_weights_start_as_the_published_ones(narrow):
    trainer = Trainer(load_experiment(CONF / "scratch.yaml", [*narrow, "data.batch_size=8"]))
    assert (trainer.network.model.state_dict()["front.layer4.2.bn2.weight"] == 1).all()


def test_the_stages_of_a_pretraining_follow_one_another(narrow, tmp_path):
    """Each starts from the model of the one before, and the last one from its classes too."""
    small = ["epochs=1", "average=1", "epoch_iterations=1", "data.batch_size=4"]
    small += ["data.chunk_frames=40", "precision=float32", "learning_rate.args.warmup_epochs=0"]
    narrow = [value for value in narrow if value != "model.init=null"]
    before = None
    for stage, message in (
        ("voxblink2", "18 classes"),
        ("voxceleb2", "its 18 classes are this data's"),
        ("large_margin", "6 of 6 classes start from"),
    ):
        config = CONF / f"pretrain_published_{stage}.yaml"
        real = load_experiment(config)
        assert real.model.init == (before and before / "models")
        there = [f"model.init={tmp_path / real.model.init}"] if before else []
        before = real.experiment
        there.append(f"experiment={tmp_path / before}")
        trainer = Trainer(load_experiment(config, [*narrow, *small, *there]))
        trainer.run()
        average_checkpoints(trainer.folder)
        assert message in (trainer.folder / "log/train.log").read_text()
    assert {real.margin.args[f"{end}_margin"] for end in ("initial", "final")} == {0.5}
