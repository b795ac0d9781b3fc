import json
import time
from contextlib import closing, suppress

import pytest
import torch
from conftest import seeded
from test_trainer import final_state, run, same

from tidyvoice.config import DataSettings, Experiment, load_experiment
from tidyvoice.data.batches import TrainingData, load_batches
from tidyvoice.distributed import World
from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import write_text
from tidyvoice.models import build_model
from tidyvoice.models.checkpointing import checkpoint_activations
from tidyvoice.models.simam_resnet import SimAMResNetASP
from tidyvoice.scoring.pairs import make_trials
from tidyvoice.scoring.trials import write_trials
from tidyvoice.training.average import average_checkpoints
from tidyvoice.training.checkpoint import epoch_checkpoints, load_checkpoint
from tidyvoice.training.tracking import Tracker
from tidyvoice.training.trainer import Trainer
from tidyvoice.training.validation import Validation, history

pytestmark = pytest.mark.usefixtures("shallow")


def log(trainer):
    return [json.loads(line) for line in (trainer.folder / "log/train.jsonl").open()]


def test_recomputing_changes_nothing():
    plain, again = (build_model("SimAM_ResNet34_ASP", in_planes=2, embed_dim=8) for _ in range(2))
    again.load_state_dict(plain.state_dict())
    checkpoint_activations(again.blocks())
    x = torch.from_numpy(seeded(1).standard_normal((3, 40, 80))).float()
    for model in (plain, again):
        model(x).square().sum().backward()
    for (name, one), two in zip(plain.named_parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, msg=name)
    # The running statistics have seen the batch once.
    assert same(dict(plain.named_buffers()), dict(again.named_buffers()))
    assert same(dict(plain.eval().named_buffers()), dict(again.eval().named_buffers()))


def test_accumulated_batches_are_one_step(experiment, tmp_path):
    experiment["data"] |= {"batch_size": 4}
    trainer = run({**experiment, "accumulate": 3, "epoch_iterations": None, "epochs": 2})
    assert trainer.epoch_iterations == 2
    assert trainer.step_chunks == 12
    text = (trainer.folder / "log/train.log").read_text()
    assert "1 processes x 3 batches of 4 chunks" in text
    assert "an epoch is 1 passes over the data" in text
    # By hand: the mean gradient of the first three batches.
    other = Trainer(Experiment.model_validate({**experiment, "experiment": str(tmp_path / "o")}))
    other.network.train()
    for index in range(3):
        raw = other.data[index]
        other.network(other.features(raw), raw.labels, raw.languages)[0].backward()
    mean = other.objective.head.weight.grad / 3
    first = Trainer(
        Experiment.model_validate(
            {**experiment, "accumulate": 3, "experiment": str(tmp_path / "first")}
        )
    )
    first.network.train()
    first._step(first.network, iter([first.data[index] for index in range(3)]))
    torch.testing.assert_close(first.objective.head.weight.grad, mean)


def test_the_gradient_is_clipped(experiment):
    trainer = Trainer(Experiment.model_validate({**experiment, "clip_gradient": 0.01}))
    trainer.network.train()
    trainer._step(trainer.network, iter([trainer.data[0]]))
    length = torch.stack([p.grad.norm() for p in trainer.network.model.parameters()]).norm()
    assert float(length) == pytest.approx(0.01, rel=1e-3)


def test_the_moving_average_is_kept_resumed_and_averaged(experiment, tmp_path):
    experiment["model"]["ema_decay"] = 0.5
    whole = run({**experiment, "experiment": str(tmp_path / "whole")})
    parts = {**experiment, "experiment": str(tmp_path / "parts")}
    run(parts)
    for epoch in (2, 3):
        epoch_checkpoints(tmp_path / "parts")[epoch].unlink()
    run(parts)
    first, second = final_state(whole.folder), final_state(tmp_path / "parts")
    assert same(first["average"], second["average"])
    name = "bottleneck.weight"
    # Step by step: half of what was, half of what is. The first step begins it.
    experiment["checkpoint_iterations"] = None
    by_step = run({**experiment, "experiment": str(tmp_path / "s"), "epoch_iterations": 1})
    states = [load_checkpoint(p) for p in epoch_checkpoints(by_step.folder).values()]
    expected = states[1]["model"][name]
    for state in states[2:]:
        expected = (expected + state["model"][name]) / 2
        torch.testing.assert_close(state["average"][f"module.{name}"], expected)
    folder, _ = average_checkpoints(by_step.folder, 1)
    made = torch.load(folder / "avg_model.pt", weights_only=True)
    torch.testing.assert_close(made[name], expected)
    assert made.keys() == states[-1]["model"].keys()


@pytest.mark.parametrize(
    "loss",
    [
        {"name": "AMSoftmax"},
        {
            "name": "SubCentreArcMargin",
            "args": {"sub_centres": 2, "top_k": 3},
            "init": "speaker_means",
        },
        {"name": "SphereFace2", "args": {"margin_type": "A"}},
        {"name": "SphereFace2", "init": "speaker_means"},
    ],
)
def test_every_loss_trains_and_goes_on(experiment, tmp_path, loss):
    experiment["loss"] = loss
    experiment["checkpoint_iterations"] = 3
    whole = run({**experiment, "experiment": str(tmp_path / "whole")})
    again = {**experiment, "experiment": str(tmp_path / "parts")}
    parts = run(again)
    for epoch in (2, 3):
        epoch_checkpoints(parts.folder)[epoch].unlink()
    run(again)
    assert same(final_state(whole.folder)["loss"], final_state(parts.folder)["loss"])


def test_sphereface2_starts_with_a_bias_that_fits_the_speakers_means(experiment):
    experiment["loss"] = {"name": "SphereFace2", "init": "speaker_means"}
    # Chunks longer than any utterance, at speed 1.0: the fit saw the very ones that are seen here.
    clean = {"speeds": [1.0], "augment_probability": 0.0}
    experiment["data"] |= {**clean, "chunk_frames": 400, "batch_size": 12}
    experiment |= {"epochs": 0, "margin": {"initial_margin": 0.2, "final_margin": 0.2}}
    trainer = run(experiment)
    head, network = trainer.objective.head, trainer.network.eval()
    trainer.frontend.eval()
    with closing(load_batches(trainer.data, range(trainer.data.batches_per_pass))) as batches:
        raw = list(batches)
    embeddings = torch.cat([network.embed(trainer.features(batch)) for batch in raw])
    loss, _ = head(embeddings.detach(), torch.cat([batch.labels for batch in raw]))
    (slope,) = torch.autograd.grad(loss, head.bias)
    assert abs(slope.item()) < 1e-3


def test_an_option_of_another_loss_is_refused(experiment, tmp_path):
    path = tmp_path / "e.json"
    write_text(path, json.dumps(experiment))
    with pytest.raises(TidyVoiceError, match="AMSoftmax: unknown key sub_centres"):
        load_experiment(path, ["loss.name=AMSoftmax", "loss.args.sub_centres=2"])
    with pytest.raises(TidyVoiceError, match="margin: leave it out; the section margin decides"):
        load_experiment(path, ["loss.args.margin=0.2"])


def test_a_name_that_is_given_once_keeps_the_settings(experiment, tmp_path):
    path = tmp_path / "e.json"
    write_text(path, json.dumps(experiment))
    again = load_experiment(path, ["model.name=SimAM_ResNet34_ASP"])
    assert again.model.args == load_experiment(path).model.args


def test_a_network_without_blocks_refuses_recompute(experiment, monkeypatch):
    monkeypatch.setattr(SimAMResNetASP, "blocks", lambda self: [])
    experiment["model"]["recompute"] = True
    with pytest.raises(TidyVoiceError, match=r"model\.recompute: .* has no blocks"):
        run(experiment)


def test_another_loss_drops_the_settings_of_the_loss_before(experiment, tmp_path):
    experiment["loss"] = {"name": "SubCentreArcMargin", "args": {"sub_centres": 2, "scale": 20.0}}
    path = tmp_path / "e.json"
    write_text(path, json.dumps(experiment))
    assert load_experiment(path).loss.args["sub_centres"] == 2
    assert load_experiment(path, ["loss.name=AMSoftmax"]).loss.args == {"scale": 32.0}
    again = load_experiment(path, ["loss.name=SubCentreArcMargin", "loss.args.top_k=1"])
    assert (again.loss.args["sub_centres"], again.loss.args["scale"]) == (2, 20.0)


def test_language_terms_train_and_go_on(experiment, tmp_path):
    experiment["languages"] = {"adversary": 0.1, "contrast": 0.2, "rise_epochs": 2}
    experiment["data"] |= {"pairs": True, "batch_size": 6, "speeds": [1.0]}
    whole = run({**experiment, "experiment": str(tmp_path / "whole")})
    rows = log(whole)
    assert all(0 <= row["language_accuracy"] <= 1 and row["contrast"] > 0 for row in rows)
    again = {**experiment, "experiment": str(tmp_path / "parts")}
    run(again)
    for epoch in (2, 3):
        epoch_checkpoints(tmp_path / "parts")[epoch].unlink()
    run(again)
    first, second = final_state(whole.folder), final_state(tmp_path / "parts")
    for part in ("model", "loss", "terms", "optimizer"):
        assert same(first[part], second[part]), part


def test_language_terms_need_languages(experiment, tiny):
    experiment["data"] |= {"train": str(tiny / "noise"), "noise": None, "min_seconds": 0.0}
    experiment["data"]["batch_size"] = 2
    experiment["languages"] = {"adversary": 0.1}
    with pytest.raises(TidyVoiceError, match="0 languages in its utt2lang"):
        run(experiment)
    experiment["languages"] = {}
    experiment["data"] |= {"pairs": True, "speeds": [1.0]}
    with pytest.raises(TidyVoiceError, match="no utterance has a language"):
        run(experiment)


@pytest.fixture
def validated(experiment, tiny, tmp_path):
    data = TrainingData(DataSettings(**experiment["data"]), 4000, 1)
    ids, speakers = data.reader.keys.to_list(), data.reader.speakers.to_list()
    with open(tmp_path / "trials", "wb") as file:
        write_trials(file, make_trials(ids, speakers, None, 20, 40, 1)[0])
    experiment["validation"] = {"data": str(tiny / "train"), "trials": str(tmp_path / "trials")}
    return experiment


def test_the_best_epoch_is_kept_and_averaged(validated, monkeypatch):
    rates = iter([0.3, 0.1, 0.2, 0.25])
    monkeypatch.setattr("tidyvoice.training.validation.Validation.measure", lambda *_: next(rates))
    trainer = run({**validated, "keep_checkpoints": 1})
    assert history(trainer.folder) == {0: 0.3, 1: 0.1, 2: 0.2, 3: 0.25}
    assert list(epoch_checkpoints(trainer.folder)) == [0, 1, 3]
    assert average_checkpoints(trainer.folder, 1, best=True)[1] == [1]


def test_a_process_without_an_utterance_to_validate_waits_for_the_others(validated):
    trainer = Trainer(Experiment.model_validate(validated))
    network = trainer.network.best_model
    whole = trainer.validation.measure(network)
    parts = []

    class Spread(World):
        def gather(self, item):
            parts.append(item)
            if self.rank + 1 < self.size:
                raise InterruptedError  # the others are not there yet
            return parts

    for rank in range(100):
        validation = Validation(trainer.settings, Spread(rank, 100, trainer.world.device))
        with suppress(InterruptedError):
            value = validation.measure(network)
    assert len(parts[-1][0]) == 0
    assert value == pytest.approx(whole, abs=1e-9)


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
    warnings = [
        line for line in (trainer.folder / "log/train.log").open() if "worse than the 2.00" in line
    ]
    assert len(warnings) == 1


def test_a_batch_that_the_learning_rate_is_not_meant_for_is_said(experiment):
    trainer = run({**experiment, "tuned_batch": 48, "epochs": 1})
    text = (trainer.folder / "log/train.log").read_text()
    assert "a step takes 5 chunks, the learning rate is meant for 48" in text


def test_synchronised_batch_norm_needs_cuda(experiment):
    experiment["model"]["sync_batchnorm"] = True
    with pytest.raises(TidyVoiceError, match="needs CUDA"):
        run({**experiment, "device": "cpu"})


def test_waiting_for_data_is_said_once_with_the_mend(tmp_path):
    tracker = Tracker(tmp_path, total=6, start=0, interval=2)
    with tracker:
        batches = tracker.waiting(iter([0.0, 0.0, 0.2, 0.2, 0.2, 0.2]))
        for number in range(1, 7):
            tracker._waited += next(batches)
            values = {"loss": torch.tensor(1.0), "accuracy": torch.tensor(0.5)}
            tracker.step(number, 1, values, 0.2, 0.1, 4)
    text = (tmp_path / "log/train.log").read_text()
    assert text.count("of the time goes by waiting for data: raise data.readers") == 1
    assert text.index("step 2/6") < text.index("waiting for data")


def test_a_compiled_training_is_the_same(experiment, tmp_path, monkeypatch):
    """With the tracer alone: making machine code takes minutes."""
    compiled, make = [], torch.nn.Module.compile

    def traced(self):
        compiled.append(type(self).__name__)
        make(self, backend="eager")

    monkeypatch.setattr(torch.nn.Module, "compile", traced)
    experiment |= {"epochs": 1, "epoch_iterations": 2}
    plain = run({**experiment, "experiment": str(tmp_path / "plain")})
    experiment["model"]["compile"] = True
    traced_run = run(experiment)
    assert compiled == ["ResidualTrunk"]
    first, second = final_state(plain.folder), final_state(traced_run.folder)
    for name, value in first["model"].items():
        # The tracer calls the same kernels in the same order.
        torch.testing.assert_close(value, second["model"][name], rtol=0, atol=0, msg=name)


def test_the_log_counts_every_step_and_no_time_of_checkpoints(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    tracker = Tracker(tmp_path, total=4, start=0, interval=4)
    with tracker:
        for number in range(1, 5):
            values = {"loss": torch.tensor(float(number)), "accuracy": torch.tensor(0.0)}
            clock[0] += 0.5
            tracker.step(number, 1, values, 0.2, 0.1, 4)
            with tracker.apart():
                clock[0] += 7.0
    row = json.loads((tmp_path / "log/train.jsonl").read_text())
    assert row["loss"] == 2.5
    assert row["utt_per_s"] == 16 / 2.0
