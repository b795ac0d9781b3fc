import json
import os
import shutil

import numpy as np
import pytest
import soundfile
import torch
from conftest import refused

from tidyvoice.config import Experiment
from tidyvoice.data.manifest import scan
from tidyvoice.data.packing import write_shards
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import only_writer
from tidyvoice.modelhub.folder import load_model
from tidyvoice.training import trainer as module
from tidyvoice.training.average import average_checkpoints
from tidyvoice.training.checkpoint import epoch_checkpoints, load_checkpoint
from tidyvoice.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("shallow")


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


def test_the_loss_falls_and_the_log_says_so(experiment):
    experiment |= {"epochs": 12, "keep_checkpoints": 2}
    experiment["data"] |= {"augment_probability": 0.0, "speeds": [1.0], "batch_size": 12}
    experiment["optimizer"]["name"] = "AdamW"
    experiment["margin"] = {"args": {"final_margin": 0.0}}
    experiment["learning_rate"] = {"args": {"initial_lr": 0.01, "final_lr": 0.002}}
    trainer = run(experiment)
    rows = [json.loads(line) for line in (trainer.folder / "log/train.jsonl").open()]
    assert [row["iteration"] for row in rows] == list(range(2, 49, 2))
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    assert rows[-1]["accuracy"] > 25  # chance is 17
    assert list(epoch_checkpoints(trainer.folder)) == [0, 11, 12]
    assert "6 speakers at 1 speeds make 6 classes" in (trainer.folder / "log/train.log").read_text()


def test_fine_tuning_takes_the_model_or_the_tensors_that_fit(experiment, tmp_path):
    first = run({**experiment, "experiment": str(tmp_path / "pretrain"), "epochs": 1})
    weights = average_checkpoints(first.folder)[0] / "avg_model.pt"
    state = torch.load(weights, weights_only=True)
    model = {**experiment["model"], "init": str(weights)}
    second = run({**experiment, "model": model, "experiment": str(tmp_path / "a"), "epochs": 0})
    assert same(final_state(second.folder)["model"], final_state(first.folder)["model"])
    assert "the loss head is new" in (second.folder / "log/train.log").read_text()
    torch.save({**state, "extra.bias": torch.ones(1)}, weights)
    args = {"in_planes": 2, "embed_dim": 8}
    experiment |= {"epochs": 0, "model": {"init": str(weights), "args": args}}
    assert "model.init_partial=true" in refused(run, experiment)
    experiment["model"]["init_partial"] = True
    faster = {"args": {"frame_shift": 5.0, "dither": 0.0}}
    assert "(args.frame_shift 10.0, here 5.0" in refused(run, {**experiment, "frontend": faster})
    trainer = run(experiment)
    begun = final_state(trainer.folder)["model"]
    new = {"bottleneck.weight", "bottleneck.bias"}
    assert {name for name in begun if not same(begun[name], state[name])} == new
    log = (trainer.folder / "log/train.log").read_text()
    assert "kept: front.conv1.weight; " in log
    assert "dropped: bottleneck.weight; bottleneck.bias; extra.bias\n" in log
    assert "new: bottleneck.weight; bottleneck.bias\n" in log


def test_the_head_starts_at_the_speakers_means(experiment):
    experiment["loss"] = {"init": "speaker_means"}
    # Chunks longer than any utterance start where it starts, at speed 1.0: no randomness is left.
    experiment["data"] |= {"speeds": [1.0], "chunk_frames": 400, "batch_size": 12}
    experiment |= {"epochs": 0}
    trainer = Trainer(Experiment.model_validate(experiment))
    lengths = trainer.objective.head.weight.detach().norm(dim=1)
    trainer.run()
    encoder = SpeakerEncoder(trainer.network.model, trainer.settings.frontend, "cpu")
    reader, chunk = trainer.data.reader, trainer.data.chunk_samples
    means = torch.zeros(6, 16)
    for row in range(len(reader)):
        samples = np.resize(reader.read(row), chunk)
        embedding = torch.from_numpy(encoder.embed_samples(samples[None])[0])
        means[trainer.data.speakers.index(reader.speakers[row])] += embedding / embedding.norm()
    means = torch.nn.functional.normalize(means)
    expected = torch.nn.functional.normalize(means - means.mean(dim=0))
    weight = trainer.objective.head.weight.detach()
    torch.testing.assert_close(weight.norm(dim=1), lengths)
    torch.testing.assert_close(torch.nn.functional.normalize(weight), expected, atol=1e-3, rtol=0)


@pytest.fixture
def pretrained(experiment, tmp_path):
    """A training with two centres a class and two speeds; its settings and its model folder."""
    experiment["data"]["speeds"] = [0.9, 1.0]
    loss = {"name": "SubCentreArcMargin", "args": {"sub_centres": 2, "top_k": 2}}
    experiment["loss"] = loss
    first = {**experiment, "experiment": str(tmp_path / "pretrain"), "average": 2}
    folder, _ = average_checkpoints(run(first).folder)
    experiment["model"] = {**experiment["model"], "init": str(folder)}
    experiment["loss"] = {**loss, "args": {"sub_centres": 2, "top_k": 0}, "init": "checkpoint"}
    return experiment, folder


def test_a_large_margin_stage_keeps_the_classes_of_its_speakers(pretrained, tiny, tmp_path):
    settings, folder = pretrained
    # The first two speakers are new, the others in the places of others.
    lines = (tiny / "train/utt2spk").read_text().splitlines()
    known = sorted({line.split()[1] for line in lines})
    head = torch.load(folder / "head.pt", weights_only=True)
    assert head["speakers"] == known
    head["speakers"] = [*known[2:], "somebody", "else"]
    torch.save(head, folder / "head.pt")
    settings["data"]["speeds"] = [1.0, 0.9]
    trainer = run({**settings, "epochs": 0})
    states = [load_checkpoint(folder / f"model_{epoch:04d}.pt") for epoch in (2, 3)]
    mean = sum(state["loss"]["weight"] for state in states) / 2
    at_speed_one = mean[6 * 2 :]  # 0.9 comes before 1.0
    begun = final_state(trainer.folder)["loss"]["weight"]
    torch.testing.assert_close(begun[2 * 2 : 6 * 2], at_speed_one[: 4 * 2])
    for unknown in (begun[: 2 * 2], begun[6 * 2 :]):
        assert not torch.isclose(unknown[:, None], mean).all(dim=2).any()
    text = (trainer.folder / "log/train.log").read_text()
    assert f"4 of 12 classes start from {folder / 'head.pt'}" in text
    assert "the loss head is new" not in text


def test_every_parameter_of_a_loss_is_kept(experiment, tmp_path):
    experiment["loss"] = {"name": "SphereFace2"}
    first = run({**experiment, "experiment": str(tmp_path / "pretrain"), "epochs": 1})
    folder, _ = average_checkpoints(first.folder)
    experiment["model"]["init"] = str(folder)
    experiment["loss"]["init"] = "checkpoint"
    begun = final_state(run({**experiment, "epochs": 0}).folder)["loss"]
    assert torch.equal(begun["bias"], final_state(first.folder)["loss"]["bias"])


def test_a_head_that_does_not_fit_is_refused(pretrained):
    settings, folder = pretrained
    with pytest.raises(TidyVoiceError, match=r"head\.pt is the head of another loss \(2 x 16"):
        run({**settings, "loss": {"init": "checkpoint"}})
    head = torch.load(folder / "head.pt", weights_only=True)
    torch.save({**head, "speakers": list("abcdef")}, folder / "head.pt")
    assert "has none of the speakers of data.train" in refused(run, settings)
    (folder / "head.pt").unlink()
    assert "head.pt is missing" in refused(run, settings)


@pytest.mark.parametrize("spoilt", ["loss", "loss of another rank", "weights"])
def test_numbers_that_are_not_finite_are_not_saved(experiment, monkeypatch, spoilt):
    step = module.Trainer._step

    def spoil(self, network, batches):
        result = step(self, network, batches)
        if self.iteration == 7 and spoilt == "weights":
            next(self.network.model.parameters()).data[0] = float("inf")
        elif self.iteration == 7:
            result.losses[: 1 if "another" in spoilt else 2] = float("nan")
        return result

    monkeypatch.setattr(module.Trainer, "_step", spoil)
    trainer = Trainer(Experiment.model_validate(experiment))
    with pytest.raises(TidyVoiceError, match=r"not finite \((nan|inf)\) around step 8") as error:
        trainer.run()
    for utterance in trainer.data.reader.keys.gather(trainer.data[7].rows.tolist()):
        assert (utterance in str(error.value)) == ("another" not in spoilt)
    assert list(epoch_checkpoints(trainer.folder)) == [0, 1]


def test_one_experiment_is_trained_once_at_a_time(experiment):
    with only_writer(experiment["experiment"]), pytest.raises(TidyVoiceError, match="another pro"):
        run(experiment)
    run(experiment)


def test_other_data_does_not_go_on_in_the_same_folder(experiment, tmp_path, tiny):
    shutil.copytree(tiny / "train", tmp_path / "train")
    experiment["data"]["train"] = str(tmp_path / "train")
    run(experiment)
    shutil.copytree(tiny / "corpus", tmp_path / "corpus")
    scan(tmp_path / "corpus", language_folder=True).write(tmp_path / "train")
    assert not write_shards(tmp_path / "train").up_to_date
    run(experiment)
    wav = next((tmp_path / "corpus").rglob("*.wav"))
    soundfile.write(wav, 0.5 * soundfile.read(wav)[0], 16000)
    assert not write_shards(tmp_path / "train").up_to_date
    assert "started with other data than" in refused(run, experiment)


def test_damaged_audio_stops_a_training_at_its_start(experiment, tmp_path, tiny):
    noise = shutil.copytree(tiny / "noise", tmp_path / "noise")
    with open(noise / "shards/shard-000000.tar", "r+b") as file:
        file.seek(5000)
        file.write(b"damage")
    experiment["data"]["noise"] = str(noise)
    with pytest.raises(TidyVoiceError, match="are not those that were packed"):
        Trainer(Experiment.model_validate(experiment))


def test_the_average_is_the_mean_and_a_model_folder(experiment):
    trainer = run({**experiment, "average": 2})
    outdated = trainer.folder / "models/verifier.json"
    outdated.write_text('{"format": "tidyvoice verifier 1"}')
    folder, epochs = average_checkpoints(trainer.folder)
    assert epochs == [2, 3]
    assert not outdated.exists()
    config = trainer.folder / "config.yaml"
    os.utime(config, ns=(0, 0))
    run({**experiment, "average": 2})
    assert config.stat().st_mtime_ns == 0  # run.sh goes by the time of unchanged settings
    averaged = torch.load(folder / "avg_model.pt", weights_only=True)
    paths = epoch_checkpoints(trainer.folder)
    states = [load_checkpoint(paths[epoch])["model"] for epoch in epochs]
    name = "bottleneck.weight"
    torch.testing.assert_close(averaged[name], (states[0][name] + states[1][name]) / 2)
    model, frontend = load_model(folder)
    assert same(dict(model.state_dict()), averaged)
    assert frontend == trainer.settings.frontend
    assert (folder / "speakers.txt").read_text().split() == trainer.data.speakers
    assert "model: SimAM_ResNet34_ASP" in (folder / "config.yaml").read_text()
    assert "cannot average 9" in refused(average_checkpoints, trainer.folder, 9)
    paths[3].unlink()
    assert "is at epoch 2 of 3: " in refused(average_checkpoints, trainer.folder, 1)
    assert average_checkpoints(trainer.folder, last=1, unfinished=True)[1] == [2]


def test_the_speakers_of_the_initial_model_are_its_own_as_well(experiment, tmp_path):
    folder, _ = average_checkpoints(run(experiment).folder, 1)
    for number, (init, added) in enumerate(
        ((folder, "zz"), (folder / "avg_model.pt", "zz"), (folder, "*"))
    ):
        (folder / "speakers.txt").write_text("zz\n" if added == "zz" else "")
        model = {**experiment["model"], "init": str(init)}
        second = {**experiment, "model": model, "experiment": str(tmp_path / str(number))}
        trainer = run(second)
        average_checkpoints(trainer.folder, 1)
        found = (trainer.folder / "models" / "speakers.txt").read_text().split()
        assert found == sorted([*trainer.data.speakers, added])


def test_a_damaged_checkpoint_is_named(experiment):
    trainer = run(experiment)
    path = list(epoch_checkpoints(trainer.folder).values())[-1]
    state = load_checkpoint(path)
    for changes, message in (
        ({"format": 0}, "another version: finish the training with that version"),
        ({"iteration": 16}, "step 16 is beyond the last one"),
        ({"iteration": 8}, "does not fit step 8"),
        ({"loss": {"weight": torch.full((18, 16), torch.inf)}}, "loss.weight is not finite"),
        ({"model": {"x": torch.zeros(1)}}, "(other tensors|Error.s. in loading).*: delete"),
    ):
        torch.save({**state, **changes}, path)
        for call in (lambda: run(experiment), lambda: average_checkpoints(trainer.folder)):
            with pytest.raises(TidyVoiceError, match=rf"model_0003\.pt.*{message}"):
                call()
