import json
import shutil

import polars as pl
import pytest
import soundfile
import torch
import yaml

from tidyvoice.config import Experiment
from tidyvoice.data.shards import write_shards
from tidyvoice.errors import TidyVoiceError
from tidyvoice.hub import load_model
from tidyvoice.manifest import scan
from tidyvoice.training import trainer as module
from tidyvoice.training.average import average_checkpoints
from tidyvoice.training.checkpoint import epoch_checkpoints, load_checkpoint
from tidyvoice.training.trainer import Trainer


def run(settings):
    trainer = Trainer(Experiment.model_validate(settings))
    trainer.run()
    return trainer


def final_state(folder):
    return load_checkpoint(list(epoch_checkpoints(folder).values())[-1])


def same(first, second):
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    return torch.equal(first, second) if torch.is_tensor(first) else first == second


class Killed(Exception):
    pass


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
@pytest.mark.parametrize("killed_at", [1, 6, 11])
def test_a_killed_run_ends_with_the_same_bits(
    experiment, tmp_path, monkeypatch, killed_at, optimizer
):
    experiment["optimizer"]["name"] = optimizer
    experiment["checkpoint_iterations"] = 3
    whole = run({**experiment, "experiment": str(tmp_path / "whole")})
    step = module.Trainer._step

    def kill(self, raw):
        if self.iteration == killed_at:
            raise Killed
        return step(self, raw)

    parts = {**experiment, "experiment": str(tmp_path / "parts")}
    monkeypatch.setattr(module.Trainer, "_step", kill)
    with pytest.raises(Killed):
        run(parts)
    monkeypatch.setattr(module.Trainer, "_step", step)
    continued = run(parts)
    first, second = final_state(whole.folder), final_state(continued.folder)
    for part in ("model", "loss", "optimizer", "random", "iteration", "speakers"):
        assert same(first[part], second[part]), part
    begun = load_checkpoint(epoch_checkpoints(whole.folder)[0])
    assert not same(begun["model"], first["model"])


def test_the_loss_falls_and_the_log_says_so(experiment):
    experiment |= {"epochs": 12, "keep_checkpoints": 2}
    experiment["data"] |= {"augment_probability": 0.0, "speeds": [1.0], "batch_size": 12}
    experiment["optimizer"]["name"] = "AdamW"
    experiment["margin"] = {"final_margin": 0.0}
    experiment["learning_rate"] = {"initial_lr": 0.01, "final_lr": 0.002}
    trainer = run(experiment)
    rows = [json.loads(line) for line in (trainer.folder / "log/train.jsonl").open()]
    assert [row["iteration"] for row in rows] == list(range(2, 49, 2))
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    assert rows[-1]["accuracy"] > 25  # chance is 17
    assert all(0 <= row["data_wait"] <= 1 and row["utt_per_s"] > 0 for row in rows)
    assert list(epoch_checkpoints(trainer.folder)) == [0, 11, 12]
    assert "6 speakers at 1 speeds make 6 classes" in (trainer.folder / "log/train.log").read_text()


def test_fine_tuning_takes_the_model_and_a_new_head(experiment, tmp_path):
    first = run({**experiment, "experiment": str(tmp_path / "pretrain")})
    folder, _ = average_checkpoints(first.folder, 1)
    experiment["model"]["init"] = str(folder)
    experiment["data"]["speeds"] = [1.0]
    second = run({**experiment, "experiment": str(tmp_path / "finetune"), "epochs": 0})
    began = load_checkpoint(epoch_checkpoints(second.folder)[0])
    assert same(began["model"], final_state(first.folder)["model"])
    assert began["loss"]["weight"].shape == (6, 16)
    assert "the loss head is new" in (second.folder / "log/train.log").read_text()


def test_the_head_starts_at_the_speakers_means(experiment, tmp_path):
    experiment["loss"] = {"init": "speaker_means"}
    experiment["data"] |= {"speeds": [1.0], "augment_probability": 0.0}
    experiment |= {"epochs": 0}
    trainer = Trainer(Experiment.model_validate(experiment))
    before = trainer.loss.weight.detach().clone()
    trainer.run()
    after = trainer.loss.weight.detach()
    assert not torch.equal(before, after)
    torch.testing.assert_close(before.norm(dim=1), after.norm(dim=1))


def test_a_loss_that_is_not_finite_names_the_utterances(experiment, monkeypatch):
    step = module.Trainer._step

    def spoiled(self, raw):
        loss, accuracy = step(self, raw)
        return (loss * float("nan") if self.iteration == 5 else loss), accuracy

    monkeypatch.setattr(module.Trainer, "_step", spoiled)
    trainer = Trainer(Experiment.model_validate(experiment))
    _, rows = trainer.data.rows_of_batch(5)
    with pytest.raises(TidyVoiceError, match="loss is nan") as error:
        trainer.run()
    for utterance in trainer.data.utterance_ids(torch.from_numpy(rows)):
        assert utterance in str(error.value)
    assert list(epoch_checkpoints(trainer.folder)) == [0, 1]


def test_other_settings_do_not_go_on_in_the_same_folder(experiment):
    run(experiment)
    run({**experiment, "log_iterations": 3})
    experiment["data"]["batch_size"] = 6
    with pytest.raises(TidyVoiceError, match=r"data\.batch_size was 5, is 6"):
        run(experiment)


def test_other_data_does_not_go_on_in_the_same_folder(experiment, tmp_path, tiny):
    shutil.copytree(tiny / "train", tmp_path / "train")
    experiment["data"]["train"] = str(tmp_path / "train")
    run(experiment)
    table = pl.read_parquet(tmp_path / "train/shards/index.parquet")
    wav = tiny / "corpus" / table["key"][0]
    replaced = tmp_path / "corpus" / table["key"][0]
    shutil.copytree(tiny / "corpus", tmp_path / "corpus")
    soundfile.write(replaced, 0.5 * soundfile.read(wav)[0], 16000)
    scan(tmp_path / "corpus", language_folder=True).write(tmp_path / "train")
    write_shards(tmp_path / "train")
    with pytest.raises(TidyVoiceError, match="was begun on other data"):
        run(experiment)


def test_the_average_is_the_mean_and_a_model_folder(experiment):
    trainer = run(experiment)
    folder, epochs = average_checkpoints(trainer.folder, 2)
    assert epochs == [2, 3]
    averaged = torch.load(folder / "avg_model.pt", weights_only=True)
    states = [load_checkpoint(epoch_checkpoints(trainer.folder)[e])["model"] for e in epochs]
    name = "bottleneck.weight"
    torch.testing.assert_close(averaged[name], (states[0][name] + states[1][name]) / 2)
    model, frontend = load_model(folder)
    assert same(dict(model.state_dict()), averaged)
    assert frontend == trainer.settings.frontend
    assert (folder / "speakers.txt").read_text().split() == trainer.data.speakers
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["model"] == "SimAM_ResNet34_ASP"
    with pytest.raises(TidyVoiceError, match="cannot average 9"):
        average_checkpoints(trainer.folder, 9)


def test_a_damaged_checkpoint_is_named(experiment):
    trainer = run(experiment)
    path = list(epoch_checkpoints(trainer.folder).values())[-1]
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(TidyVoiceError, match=r"model_0003\.pt is damaged"):
        run(experiment)
