import json
import time
from contextlib import closing

import pytest
import torch
from conftest import refused
from test_trainer import final_state, run, same

from tidyvoice.config import Experiment
from tidyvoice.errors import TidyVoiceError
from tidyvoice.models.simam_resnet import SimAMResNetASP
from tidyvoice.training.average import average_checkpoints
from tidyvoice.training.checkpoint import epoch_checkpoints, load_checkpoint
from tidyvoice.training.start import check_experiment
from tidyvoice.training.tracking import Tracker
from tidyvoice.training.trainer import Trainer
from tidyvoice.training.validation import history

PAIRS = {"name": "Shuffled", "args": {"pairs": True}}

pytestmark = pytest.mark.usefixtures("shallow")


def test_accumulated_batches_are_one_step(experiment):
    experiment |= {"gradient_accumulation": 3, "epoch_iterations": None, "epochs": 1}
    experiment |= {"reference_batch_size": 48}
    experiment["data"]["batch_size"] = 4
    trainer = Trainer(Experiment.model_validate(experiment))
    network, head = trainer.network.train(), trainer.objective.head
    batches = [trainer.data[index] for index in range(3)]
    for raw in batches:
        network(trainer.step.features(raw), raw.labels, raw.languages)[0].backward()
    mean = head.weight.grad / 3
    trainer._step(network, iter(batches))
    torch.testing.assert_close(head.weight.grad, mean)
    trainer = run(experiment)
    assert (trainer.epoch_iterations, trainer.step_chunks) == (2, 12)
    text = (trainer.folder / "log/train.log").read_text()
    assert "1 processes x 3 batches of 4 chunks" in text
    assert "an epoch is 1 passes over the data" in text
    assert "the learning rate was tuned for 48 (reference_batch_size)" in text


def test_the_gradient_is_clipped(experiment):
    trainer = Trainer(Experiment.model_validate({**experiment, "clip_gradient": 0.01}))
    trainer.network.train()
    trainer._step(trainer.network, iter([trainer.data[0]]))
    length = torch.stack([p.grad.norm() for p in trainer.network.model.parameters()]).norm()
    assert float(length) == pytest.approx(0.01, rel=1e-3)


def test_groups_of_parameters_have_settings_of_their_own(experiment):
    experiment["optimizer"] = {
        "args": {"momentum": 0.0, "nesterov": False},
        "groups": [
            {"pattern": r"^model\.front\.(conv|bn)1", "frozen": True},
            {"pattern": "bottleneck", "lr_factor": 0.5, "weight_decay": 0.0},
        ],
    }
    trainer = Trainer(Experiment.model_validate(experiment))
    network = trainer.network.train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    trainer._step(network, iter([trainer.data[0]]))
    rate = trainer.learning_rate.at(0)
    frozen = {"model.front.conv1.weight", "model.front.bn1.weight", "model.front.bn1.bias"}
    for name, parameter in network.named_parameters():
        factor, decay = (0.5, 0.0) if "bottleneck" in name else (1.0, 1e-4)
        assert (parameter.grad is None) == (name in frozen)
        expected = before[name]
        if name not in frozen:
            expected = expected - factor * rate * (parameter.grad + decay * expected)
        torch.testing.assert_close(parameter.detach(), expected, msg=name)
    # A frozen layer does not adapt its statistics either.
    mean = "model.front.bn1.running_mean"
    assert torch.equal(network.state_dict()[mean], before[mean])


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([{"pattern": "model"}, {"pattern": "conv"}], "no parameter is left for 'conv"),
        ([{"pattern": "", "frozen": True}], "all parameters are frozen"),
    ],
)
def test_groups_that_cannot_be_are_refused_before_the_training(experiment, groups, message):
    experiment["optimizer"]["groups"] = groups
    with pytest.raises(TidyVoiceError, match=message):
        check_experiment(Experiment.model_validate(experiment))


def test_the_moving_average_is_averaged(experiment):
    experiment |= {"epoch_iterations": 1}
    experiment["model"]["ema_decay"] = 0.5
    trainer = run(experiment)
    states = [load_checkpoint(path) for path in epoch_checkpoints(trainer.folder).values()]
    name = "bottleneck.weight"
    # Half of the average so far, half of the weights; the first step begins it.
    expected = states[1]["model"][name]
    for state in states[2:]:
        expected = (expected + state["model"][name]) / 2
        torch.testing.assert_close(state["average"][f"module.{name}"], expected)
    folder, _ = average_checkpoints(trainer.folder, 1)
    averaged = torch.load(folder / "avg_model.pt", weights_only=True)
    torch.testing.assert_close(averaged[name], expected)
    assert averaged.keys() == states[-1]["model"].keys()


def test_what_network_or_machine_cannot_do_is_refused(experiment, monkeypatch):
    monkeypatch.setattr(SimAMResNetASP, "blocks", lambda self: [])
    with pytest.raises(TidyVoiceError, match="activation_checkpointing: set it false for"):
        run({**experiment, "model": {**experiment["model"], "activation_checkpointing": True}})
    for folder in (experiment["data"]["train"], f"{experiment['data']['train']}/shards/exp"):
        with pytest.raises(TidyVoiceError, match="is a data folder or lies in its shards"):
            run({**experiment, "experiment": folder})


def test_language_terms_need_languages(experiment, tiny):
    experiment["data"] |= {"train": str(tiny / "noise"), "noise": None, "min_seconds": 0.0}
    experiment["data"]["batch_size"] = 2
    with pytest.raises(TidyVoiceError, match="noise: 0 languages in utt2lang"):
        run({**experiment, "languages": {"adversary": 0.1}})
    experiment["data"] |= {"sampler": PAIRS, "speeds": [1.0]}
    assert "no utterance has a language" in refused(run, experiment)


@pytest.fixture
def validated(experiment, validation):
    return {**experiment, "validation": validation}


def test_the_best_epoch_is_kept_and_averaged(validated, monkeypatch):
    rates = iter([0.3, 0.1, 0.2, 0.25])
    monkeypatch.setattr("tidyvoice.training.validation.Validation.measure", lambda *_: next(rates))
    trainer = run({**validated, "keep_checkpoints": 1})
    assert history(trainer.folder) == {0: 0.3, 1: 0.1, 2: 0.2, 3: 0.25}
    assert list(epoch_checkpoints(trainer.folder)) == [0, 1, 3]
    assert average_checkpoints(trainer.folder, 1, best=True)[1] == [1]
    line = refused(average_checkpoints, trainer.folder, 2)
    assert "checkpoints of the last 1 epochs, cannot average 2" in line
    (trainer.folder / "log/validation.json").write_text('{"1": NaN}')
    with pytest.raises(TidyVoiceError, match=r"validation\.json: 1: .* \(it is nan\)"):
        history(trainer.folder)


def test_validation_changes_no_weight_and_is_the_eer_of_the_checkpoint(validated, tmp_path):
    plain = run({**validated, "experiment": str(tmp_path / "plain"), "validation": None})
    trainer = run(validated)
    assert same(final_state(plain.folder)["model"], final_state(trainer.folder)["model"])
    measured = history(trainer.folder)
    assert list(measured) == [0, 1, 2, 3]
    assert trainer.validation.measure(trainer.network.model) == pytest.approx(measured[3])
    assert f"EER {100 * measured[3]:.2f} %" in (trainer.folder / "log/train.log").read_text()


def test_a_fine_tuning_that_makes_it_worse_is_warned_of(validated, tmp_path, monkeypatch):
    first = run({**validated, "experiment": str(tmp_path / "pretrain"), "validation": None})
    folder, _ = average_checkpoints(first.folder, 1)
    validated["model"]["init"] = str(folder)
    rates = iter([0.02, 0.03, 0.4, 0.02])
    monkeypatch.setattr("tidyvoice.training.validation.Validation.measure", lambda *_: next(rates))
    trainer = run(validated)
    assert (trainer.folder / "log/train.log").read_text().count("worse than the 2.00") == 1


def test_the_log_counts_every_step_and_what_slows_it(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def batches():
        for wait in (0.0, 0.0, 0.2, 0.2, 0.2, 0.2):
            clock[0] += wait
            yield

    tracker = Tracker(tmp_path, 6, 0, interval=2, utterances=4, quiet=False)
    with closing(tracker):
        for number, _ in enumerate(tracker.waiting(batches()), 1):
            values = {"loss": torch.tensor(float(number)), "accuracy": torch.tensor(0.0)}
            clock[0] += 0.3
            tracker.step(number, 1, values, 0.2, 0.1)
            with tracker.apart():
                clock[0] += 7.0
    rows = [json.loads(line) for line in (tmp_path / "log/train.jsonl").open()]
    assert [row["loss"] for row in rows] == [1.5, 3.5, 5.5]
    assert [row["data_wait"] for row in rows] == [0.0, 0.4, 0.4]
    assert rows[1]["utt_per_s"] == 8.0
    text = (tmp_path / "log/train.log").read_text()
    assert text.count("waits for data 40% of the time: raise data.num_workers") == 1


@pytest.mark.parametrize("option", ["compile", "activation_checkpointing"])
def test_options_of_speed_and_memory_change_no_bit(experiment, tmp_path, monkeypatch, option):
    compiled, make = [], torch.nn.Module.compile

    def traced(self):
        """Compile with the tracer alone: making machine code takes minutes."""
        compiled.append(type(self).__name__)
        make(self, backend="eager")

    monkeypatch.setattr(torch.nn.Module, "compile", traced)
    experiment |= {"epochs": 1, "epoch_iterations": 2}
    plain = run({**experiment, "experiment": str(tmp_path / "plain")})
    experiment["model"][option] = True
    states = [final_state(trainer.folder)["model"] for trainer in (plain, run(experiment))]
    assert same(*states)
    assert compiled == ["ResidualTrunk"] * (option == "compile")
