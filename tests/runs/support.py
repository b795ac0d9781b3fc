"""Experiments on disk for the tests of ``tidyvoice runs``."""

import json
from datetime import datetime, timezone
from pathlib import Path

import yaml

from tests.report.support import make_experiment
from tidyvoice.record import Git, Machine, Record, Run

SETTINGS = {
    "seed": 1,
    "epochs": 3,
    "epoch_iterations": 4,
    "data": {"train": ["data/a"], "batch_size": 5},
    "learning_rate": {"args": {"initial_lr": 0.05}},
}


def make_run(**changes) -> Run:
    """A run of a training as its record has it."""
    machine = Machine(platform="p", cpu="c", cores=2, gpus=("H100",), cuda="13.0", cudnn=1)
    run = Run(
        when=datetime(2026, 3, 1, 12, 30, tzinfo=timezone.utc),
        command="tidyvoice train x.yaml",
        seed=1,
        steps=12,
        world_size=1,
        inputs={"data": "ab" * 32},
        versions={"torch": "2.9.0"},
        machine=machine,
        git=Git(commit="0123456789", branch="main", changed=0),
    )
    return run.model_copy(update=changes)


def write_record(folder: Path, *runs: Run) -> None:
    (folder / "record.json").write_text(Record(runs=runs).model_dump_json())


def make(folder: Path, shift=0.5, seed=0, settings=None, logged=8, **scores) -> Path:
    """An experiment folder with scores of 1,128 trials, a log of some steps, and settings."""
    make_experiment(folder, shift, log=False, seed=seed, **scores)
    values = {"experiment": str(folder), **SETTINGS, **(settings or {})}
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    (folder / "log").mkdir(exist_ok=True)
    with open(folder / "log" / "train.jsonl", "w") as file:
        for i in range(2, logged + 1, 2):
            row = {"iteration": i, "loss": 9 - i / 4, "utt_per_s": 100 + i}
            file.write(json.dumps(row) + "\n")
    return folder
