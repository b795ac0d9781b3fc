"""A training that is killed and resumed ends with the same bits."""

import pytest
from conftest import refused
from test_trainer import final_state, run, same

from tidyvoice.training import trainer as module
from tidyvoice.training.checkpoint import epoch_checkpoints, load_checkpoint

pytestmark = pytest.mark.usefixtures("shallow")

PAIRS = {"name": "Balanced", "args": {"by": "language", "pairs": True}}
CASES = {
    "SGD": {},
    "AdamW": {"optimizer": {"name": "AdamW"}, "loss": {"name": "AMSoftmax"}},
    "groups": {
        "optimizer": {
            "groups": [{"pattern": "layer2", "frozen": True}, {"pattern": "bn", "lr_factor": 0.1}]
        },
        "learning_rate": {
            "name": "CosineRestarts",
            "args": {"initial_lr": 0.05, "final_lr": 0.0, "cycle_epochs": 1},
        },
    },
    "moving average": {"model": {"ema_decay": 0.5}, "data": {"sampler": {"name": "Windowed"}}},
    "augmentations": {
        "data": {"augmentations": [{"name": "SpecAugment"}], "num_workers": 3},
        "loss": {"name": "SphereFace2", "args": {"margin_type": "A"}},
    },
    "sub-centres": {
        "loss": {
            "name": "SubCentreArcMargin",
            "args": {"sub_centres": 2, "top_k": 3},
            "init": "speaker_means",
        }
    },
    "languages": {
        "data": {"sampler": PAIRS, "batch_size": 6, "speeds": [1.0]},
        "languages": {"adversary": 0.1, "contrast": 0.2, "warmup_epochs": 2},
    },
    "episodes": {
        "data": {"sampler": {"name": "Episodes"}, "batch_size": 6, "speeds": [1.0]},
        "languages": {"prototypes": 0.5},
    },
}


class Killed(Exception):
    pass


@pytest.mark.parametrize("case", CASES)
def test_a_killed_run_ends_with_the_same_bits(experiment, tmp_path, monkeypatch, case):
    killed_at = 1 + 2 * list(CASES).index(case) % 11
    for key, values in CASES[case].items():
        experiment[key] = {**experiment.get(key, {}), **values}
    experiment["checkpoint_iterations"] = 3
    whole = run({**experiment, "experiment": str(tmp_path / "whole")})
    step = module.Trainer._step

    def kill(self, network, batches):
        if self.iteration == killed_at:
            raise Killed
        return step(self, network, batches)

    parts = {**experiment, "experiment": str(tmp_path / "parts")}
    monkeypatch.setattr(module.Trainer, "_step", kill)
    with pytest.raises(Killed):
        run(parts)
    monkeypatch.setattr(module.Trainer, "_step", step)
    first, second = final_state(whole.folder), final_state(run(parts).folder)
    assert ("average" in first) == (case == "moving average")
    for part in first.keys() - {"settings", "source"}:
        assert same(first[part], second[part]), part
    begun = load_checkpoint(epoch_checkpoints(whole.folder)[0])
    assert not same(begun["model"], first["model"])


def test_a_checkpoint_of_other_code_is_warned_of(experiment, monkeypatch):
    trainer = run({**experiment, "epochs": 1})
    log = trainer.folder / "log/train.log"
    begun, done = epoch_checkpoints(trainer.folder).values()
    done.unlink()
    run({**experiment, "epochs": 1})
    assert "resuming at step 0" in log.read_text()
    assert "warning" not in log.read_text()
    done.unlink()
    monkeypatch.setattr(module, "source_hash", lambda: "another")
    run({**experiment, "epochs": 1})
    assert f"warning: another version of the code wrote {begun}" in log.read_text()


def test_other_settings_do_not_resume(experiment):
    run(experiment)
    run({**experiment, "log_iterations": 3})
    experiment["validation"] = {"data": "x", "trials": "y"}
    assert "validation.trials was None, is y" in refused(run, experiment)
    experiment["validation"] = None
    experiment["data"]["batch_size"] = 6
    assert "data.batch_size was 5, is 6" in refused(run, experiment)
