"""The measured ways to compute a step, the choice of one, and `tidyvoice benchmark`."""

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat
from pathlib import Path
from threading import Barrier

import pytest
import torch
import yaml
from conftest import invoke, refused, require_triton
from test_trainer import final_state, run

from benchmarks.pretend_cuda import PretendCuda
from tidyvoice import kernels
from tidyvoice.config import Experiment
from tidyvoice.data.batches import TrainingData
from tidyvoice.distributed import World
from tidyvoice.training import measurement, tuning
from tidyvoice.training.measurement import Combination, Trial
from tidyvoice.training.step import TrainingStep

pytestmark = pytest.mark.usefixtures("shallow")

PLAIN = Combination(compile=False, plain=True)
ODD = Combination(compile=False, channels_last=False)
TRIAL = measurement.trial


@pytest.fixture
def trials(monkeypatch):
    """Results of combinations, instead of measured ones; and those that were asked for."""
    results, tried = {}, []

    def trial(settings, data, device, combination, batches, steps, counter):
        tried.append(combination)
        result = results.get(combination, Trial([3.0, 2.0], 7.0, 0.5, None))
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(measurement, "trial", trial)
    monkeypatch.setattr(measurement, "product_speed", lambda a: 1e9)
    monkeypatch.setattr(tuning, "LEAST_STEPS", 3)
    monkeypatch.setattr(measurement, "MATRIX_SIZE", 4)
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: None)
    return results, tried


@pytest.fixture
def on_cuda(experiment):
    require_triton()
    return {**experiment, "device": "cuda", "epochs": 1, "epoch_iterations": 3}


def log_of(settings):
    return (Path(settings["experiment"]) / "log/train.log").read_text()


def test_the_fastest_with_the_same_results_is_chosen_and_used(on_cuda, trials, monkeypatch):
    results, tried = trials
    compiled = Combination(compile=True)
    results[compiled] = Trial([3.0, 2.1], 7.0, 0.1, None)  # fast and wrong
    faster = Combination(compile=True, channels_last=False)
    results[faster] = Trial([3.0, 2.0], 3.5, 0.1, None)  # its backward pass is wrong
    results[ODD] = Trial([3.001, 1.999], 7.7, 0.2, 5 * 10**9)
    results[Combination(compile=False)] = RuntimeError("no\nCC")
    features, searches = TrainingStep.features, []

    def watched(self, raw):
        searches.append(torch.backends.cudnn.benchmark)
        return features(self, raw)

    monkeypatch.setattr(TrainingStep, "features", watched)
    with PretendCuda():
        trainer = run(on_cuda)
    assert all(weight.is_contiguous() for weight in trainer.network.parameters())
    assert searches == [True] * 3
    assert not torch.backends.cudnn.benchmark
    assert tried[0] == PLAIN
    assert len(set(tried)) == len(tried) == 5
    saved = json.loads((Path(on_cuda["experiment"]) / "log/tuning.json").read_text())
    assert saved["choice"] == ODD.model_dump()
    assert saved["key"]["gpu"] == "pretended GPU"
    assert [row["failure"] for row in saved["rows"] if row["failure"]] == ["no"]
    log = log_of(on_cuda)
    assert "the fastest with the same results: contiguous\n" in log
    rows = {line[len("2026-01-01 00:00:00 ") :].split("  ")[0]: line for line in log.splitlines()}
    for wrong in ("channels last, compile", "contiguous, compile"):
        assert rows[wrong].endswith("other results, not used")
    assert rows["channels last"].endswith("  no")
    assert "  200.0      25.0    5.0 GB " in rows["contiguous"]


def test_a_resumed_training_keeps_the_choice_of_the_same_gpu(on_cuda, trials, monkeypatch):
    results, tried = trials
    results[ODD] = Trial([3.0, 2.0], 7.0, 0.2, None)
    path = Path(on_cuda["experiment"]) / "log/tuning.json"

    def resumed():
        tried.clear()
        (path.parents[1] / "models/model_0001.pt").unlink(missing_ok=True)
        with PretendCuda():
            monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: gpu)
            return run(on_cuda)

    gpu = "one"
    resumed()
    assert len(tried) == 5
    resumed()
    assert not tried
    assert f"measured before, see {path}: contiguous\n" in log_of(on_cuda)
    gpu = "another"
    resumed()
    assert len(tried) == 5
    path.write_text("{}")
    assert f"{path}: " in refused(resumed)


def test_the_optimizer_of_a_checkpoint_takes_the_chosen_layout(on_cuda, trials):
    trials[0][ODD] = Trial([3.0, 2.0], 7.0, 0.2, None)
    with PretendCuda():
        folder = run({**on_cuda, "epochs": 2, "tuning": False}).folder
        (folder / "models/model_0002.pt").unlink()
        optimizer = run({**on_cuda, "epochs": 2}).step.optimizer
    for parameter, state in optimizer.state.items():
        assert state["momentum_buffer"].stride() == parameter.stride()


def test_the_reference_uses_no_kernels():
    require_triton()
    kind = "simam_residual", torch.device("cuda", 0), torch.float32
    with PretendCuda():
        assert kernels.usable(*kind)
        with PLAIN.applied():
            assert not kernels.usable(*kind)
        assert kernels.usable(*kind)


def test_the_other_processes_wait_for_the_choice_of_the_first(on_cuda, trials):
    trials[0][ODD] = Trial([3.0, 2.0], 7.0, 0.2, None)
    settings = Experiment.model_validate(on_cuda)
    items, barrier = [None, None], Barrier(2, timeout=60)

    class Rank(World):
        def gather(self, item):
            items[self.rank] = item
            barrier.wait()
            everything = list(items)
            barrier.wait()
            return everything

    def choice(rank):
        world = Rank(rank, 2, torch.device("cuda", 0))
        return tuning.tune(settings, data, world, 100, lambda line: None)

    with PretendCuda(), ThreadPoolExecutor(2) as pool:
        data = TrainingData(settings.data, 8000, 1)
        for measured in (3, 3):  # the second time the file of the first process counts
            assert list(pool.map(choice, range(2))) == [ODD, ODD]
            assert len(trials[1]) == measured


@pytest.mark.parametrize("changes", [{"tuning": False}, {"epoch_iterations": 2}])
def test_nothing_is_measured_in_vain(on_cuda, trials, changes):
    with PretendCuda():
        run({**on_cuda, **changes})
    assert not trials[1]
    assert not (Path(on_cuda["experiment"]) / "log/tuning.json").exists()


@pytest.mark.parametrize(
    ("option", "compiled"), [("compile", {True}), ("activation_checkpointing", {False})]
)
def test_settings_of_the_model_limit_what_is_tried(on_cuda, trials, option, compiled):
    on_cuda["model"][option] = True
    with PretendCuda():
        trainer = run(on_cuda)
    assert {combination.compile for combination in trials[1][1:]} == compiled
    saved = json.loads((trainer.folder / "log/tuning.json").read_text())
    assert saved["choice"]["compile"] == (option == "compile")


def test_without_a_sound_way_the_training_follows_its_settings(on_cuda, trials):
    results, tried = trials
    on_cuda["model"]["compile"] = True
    for channels_last in (True, False):
        combination = Combination(compile=True, channels_last=channels_last)
        results[combination] = RuntimeError("no compiler")
    with PretendCuda():
        trainer = run(on_cuda)
    assert len(tried) == 3
    assert "none is chosen" in log_of(on_cuda)
    assert not (trainer.folder / "log/tuning.json").exists()


def test_a_tuned_training_ends_with_the_same_weights(on_cuda, trials, tmp_path, monkeypatch):
    """The trials are real, but for their time; all of them agree."""
    monkeypatch.setattr(measurement, "trial", TRIAL)
    monkeypatch.setattr(measurement, "WARM_UP", 1)
    monkeypatch.setattr(tuning, "MEASURED", 1)
    on_cuda["model"]["ema_decay"] = 0.5
    states, folders = [], [tmp_path / "untuned", tmp_path / "tuned"]
    for folder in folders:
        # Loading takes a second, and so does each trial but the third, which is ODD.
        seconds = chain.from_iterable((0.0, 0.1 if n == 3 else 1.0) for n in range(10))
        clock, time = chain(seconds, repeat(0.0)), [0.0]

        def now(device, clock=clock, time=time):
            time[0] += next(clock)
            return time[0]

        monkeypatch.setattr(measurement, "now", now)
        with PretendCuda():
            settings = {"experiment": str(folder), "tuning": folder == folders[1]}
            states.append(final_state(run({**on_cuda, **settings}).folder))
    saved = json.loads((folders[1] / "log/tuning.json").read_text())
    assert saved["choice"] == ODD.model_dump()
    assert all(row["agrees"] and row["product_share"] for row in saved["rows"])
    for part in ("model", "average", "loss"):
        for name, value in states[0][part].items():
            torch.testing.assert_close(states[1][part][name], value, rtol=1e-3, atol=1e-3)
    assert torch.equal(states[0]["random"]["cpu"], states[1]["random"]["cpu"])


def test_the_command_prints_a_table_and_writes_nothing(experiment, tmp_path, monkeypatch):
    monkeypatch.setattr(measurement, "product_speed", lambda a: 1e9)
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(experiment))
    arguments = "benchmark", tmp_path / "x.yaml", "data.batch_size=4", "--steps", 2
    torch.manual_seed(99)  # not the seed of the experiment
    before = torch.get_rng_state()
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert f"torch {torch.__version__}" in lines[0]
    assert lines[1].endswith("SimAM_ResNet34_ASP, float32, steps of 4 chunks of 40 frames")
    assert [line.split("  ")[0] for line in lines[3:5]] == ["channels last", "contiguous"]
    assert lines[5].startswith("the fastest with the same results: c")
    assert lines[6].startswith("the whole training takes 12 steps with channels last: ")
    results = json.loads(invoke(*arguments, "--json").stdout)
    assert all(row["agrees"] and row["milliseconds"] > 0 for row in results["rows"])
    first = results["rows"][0]
    expected = 12 * first["milliseconds"] / 1000 / (1 - first["waiting"])
    assert results["seconds"] == pytest.approx(expected)
    assert not Path(experiment["experiment"]).exists()
    assert torch.equal(torch.get_rng_state(), before)


def test_the_command_names_the_reason_if_no_step_runs(experiment, tmp_path, trials):
    for channels_last in (True, False):
        combination = Combination(compile=False, channels_last=channels_last)
        trials[0][combination] = torch.OutOfMemoryError("CUDA out of memory")
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(experiment))
    result = invoke("benchmark", tmp_path / "x.yaml")
    assert result.exit_code == 1
    assert "(CUDA out of memory): reduce data.batch_size" in result.output


def test_clipping_does_not_hide_a_gradient(experiment):
    settings = Experiment.model_validate({**experiment, "clip_gradient": 1e-6})
    data, cpu = TrainingData(settings.data, 6640, 1), torch.device("cpu")
    arguments = settings, data, cpu, Combination(compile=False), [data[0]], 1, None
    assert TRIAL(*arguments).gradient > 1e-3
