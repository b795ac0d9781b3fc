"""Several processes, started as a user would: torchrun on this machine, gloo on the CPU."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from test_trainer import final_state

from tests.preloaded import programs, run, start
from tidyvoice.config import load_experiment
from tidyvoice.training.checkpoint import epoch_checkpoints, load_checkpoint, restore
from tidyvoice.training.trainer import Trainer
from tidyvoice.training.validation import history

ROOT = Path(__file__).parents[2]
ENDS = "initial", "final"


@pytest.fixture
def config(experiment, tmp_path):
    """An experiment file; of 24 utterances 20 fill steps of two batches of five."""
    experiment |= {"epoch_iterations": None, "epochs": 3, "checkpoint_iterations": 1}
    experiment |= {"log_iterations": 1, "timeout_seconds": 600}
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(experiment))
    return path


def command(config, processes, *overrides):
    """Arguments of Python that start a training of several processes."""
    launcher = ["-m", "tidyvoice.training.launch", "--standalone", f"--nproc-per-node={processes}"]
    return [*launcher, "-m", "tidyvoice", "train", str(config), *overrides]


def train(config, processes, *overrides):
    result = run("python", *command(config, processes, *overrides))
    assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]
    return result.stdout


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "log/train.jsonl").open()]


def close(first, second, atol=1e-9):
    assert first
    torch.testing.assert_close(first, {name: second[name] for name in first}, rtol=0, atol=atol)


def same_course(first, second):
    """The same losses, and the same momentum of every parameter."""
    # Losses are written with five decimals; float32 holds 20 to 2e-6.
    torch.testing.assert_close(losses(first), losses(second), rtol=0, atol=3e-5)
    close(*(final_state(folder)["optimizer"]["state"] for folder in (first, second)))


def test_two_ranks_are_one_that_accumulates(config, tmp_path):
    head = "loss.name=SubCentreArcMargin", "loss.args.top_k=3", "languages.prototypes=0.5"
    episodes = "data.sampler.name=Episodes", "data.batch_size=6", "data.speeds=[1.0]"
    both, alone = tmp_path / "both", tmp_path / "alone"
    rates = (f"learning_rate.args.{end}_lr=0.01" for end in ENDS)
    shared = (*head, *episodes, "optimizer.name=SGD", *rates)
    output = train(config, 2, f"experiment={both}", *shared)
    assert "2 processes x 1 batches of 6 chunks" in output
    assert "episodes: 3 speakers x 2 utterances of 1 language; 6 of 6 speakers, 2 of 2" in output
    assert output.count("step 6/6") == 1  # one rank speaks
    train(config, 1, f"experiment={alone}", "gradient_accumulation=2", *shared)
    assert len(losses(both)) == 6
    same_course(both, alone)
    first, second = final_state(both), final_state(alone)
    # The mean of two gradients has the same bits either way: halves are exact, a sum commutes.
    close(first["loss"], second["loss"])
    # Batch norm's running statistics are of other batches in each process: the mean of theirs.
    weights = {k: v for k, v in first["model"].items() if not re.search("running|tracked", k)}
    close(weights, second["model"])
    # On from here with another number of ranks: to the same end.
    for folder in (both, alone):
        for epoch in (2, 3):
            epoch_checkpoints(folder)[epoch].unlink()
    train(config, 1, f"experiment={both}", "gradient_accumulation=2", *shared)
    train(config, 2, f"experiment={alone}", *shared)
    same_course(both, alone)
    refused = run("python", *command(config, 2, f"experiment={both}", "gradient_accumulation=2"))
    assert refused.returncode == 1
    (line,) = set(refused.stderr.splitlines())  # each rank may print it
    assert "started with other settings" in line


def of_rank(process, rank):
    """Process id of a rank, once it has done a step."""
    for line in process.stdout:
        if line.startswith("step 2/"):
            break
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        if f"RANK={rank}".encode() in environment:
            return int(child)
    pytest.fail(f"no rank {rank}")


@pytest.mark.parametrize(
    ("number", "hint"),
    [(signal.SIGKILL, "The memory may be full"), (signal.SIGABRT, "NCCL aborts")],
)
def test_a_killed_rank_ends_all_ranks_in_one_line(config, tmp_path, number, hint):
    ranks = f"{programs()}/python"
    process = start(
        sys.executable,
        *command(config, 2, f"experiment={tmp_path / 'exp'}", "epochs=3000"),
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHON_EXEC": ranks},
        stderr=subprocess.STDOUT,
    )
    try:
        os.kill(of_rank(process, 1), number)
        output, _ = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert "Traceback" not in output
    assert "closing signal" not in output  # torchrun's own log
    assert process.returncode == 1
    last = output.splitlines()[-1]
    assert last.startswith(f"error: rank 1 was killed by signal {number}")
    assert hint in last


def test_ranks_share_validation_and_the_means_of_the_speakers(config, validation, tmp_path):
    options = [f"validation.{key}={path}" for key, path in validation.items()]
    options += ["loss.name=SphereFace2", "loss.init=speaker_means", "model.ema_decay=0.5"]
    options += ["epochs=1", "learning_rate.args.initial_lr=0.01"]
    both = train(config, 2, *options)
    assert "an epoch is 0.8333 passes" in both
    alone = train(config, 1, f"experiment={tmp_path / 'alone'}", *options, "epochs=0")
    (measured,) = (line for line in both.splitlines() if "validation after epoch 0" in line)
    assert measured in alone
    trainer = Trainer(load_experiment(config, options))
    begun, state = map(load_checkpoint, epoch_checkpoints(trainer.folder).values())
    # Sums in another order.
    close(begun["loss"], final_state(tmp_path / "alone")["loss"], atol=1e-4)
    # What was measured is what was saved.
    restore(state, trainer.network, trainer.step.optimizer, trainer.world.device)
    measured = trainer.validation.measure(trainer.network.best_model)
    assert measured == pytest.approx(history(trainer.folder)[1], abs=1e-9)
