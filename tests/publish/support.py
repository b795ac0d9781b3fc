"""Experiments and helpers for the tests of publishing."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from tests import preloaded
from tests.fake_hub import TOKEN, FakeHub
from tidyvoice.data.manifest import Manifest, scan
from tidyvoice.data.packing import write_shards
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.extraction.extract import extract
from tidyvoice.scoring.pairs import make_trials
from tidyvoice.scoring.pipeline import score_list
from tidyvoice.scoring.trials import write_trials
from tidyvoice.training.average import average_checkpoints
from tidyvoice.training.trainer import train
from tidyvoice.verification.fit import fit_verifier

TEXTS = (".md", ".json", ".yaml", ".txt")


@dataclass(frozen=True)
class Trained:
    """Two experiments in ``folder``, the second one fine-tuned from the first; and all speakers."""

    folder: Path
    first: Path
    second: Path
    speakers: list[str]


def run(hub: FakeHub, where: Path, *command: object, **changes: str):
    """Run a command in its own process, because huggingface_hub reads its environment once."""
    env = hub.environment(where / "home", **{"HF_TOKEN": TOKEN, **changes})
    return preloaded.run(*command, cwd=where, env=env)


def push(hub: FakeHub, where: Path, *arguments: object, **changes: str):
    return run(hub, where, "tidyvoice", "hub", "push", *arguments, **changes)


def failing(result) -> str:
    """Return the only line of an error."""
    assert result.returncode == 1, result.stdout + result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def texts(folder: Path) -> dict[str, str]:
    """Return the texts of a folder by file name."""
    return {path.name: path.read_text() for path in folder.iterdir() if path.suffix in TEXTS}


def make_trained(folder: Path, corpus: Path, trials: Path) -> Trained:
    """Train and score on a corpus of eight speakers.

    Four speakers are in the training data, "dev" has the four others, "dev-llr" is in-sample.
    """
    known = scan(corpus, language_folder=True)
    known.write(folder / "data" / "known")
    names = known.speakers()
    known.select(names[:4]).write(folder / "data" / "train", "The tones are free.")
    write_shards(folder / "data" / "train", per_shard=20)
    first = _train(folder, "first")
    second = _train(folder, "second", init=str(first / "models"))
    table = second / "embeddings" / "all.npz"
    encoder = SpeakerEncoder.from_pretrained(second / "models", "cpu")
    extract(encoder, folder / "data" / "known", table)
    _write_list(folder / "fair.txt", known.select(names[4:]))
    score_list(table, folder / "fair.txt", second / "scores" / "dev.score")
    seen = {"mean": table, "allow_overlap": True}
    score_list(table, trials, second / "scores" / "dev-llr.score", **seen)
    fit_verifier(table, trials, **seen).save(second / "models")
    return Trained(folder, first, second, names)


def _train(folder: Path, name: str, **model: object) -> Path:
    settings = {
        "experiment": str(folder / "exp" / name),
        "epochs": 1,
        "epoch_iterations": 2,
        "device": "cpu",
        "data": {
            "train": str(folder / "data" / "train"),
            "chunk_frames": 40,
            "batch_size": 4,
            "num_workers": 1,
        },
        "model": {"args": {"in_planes": 2, "embed_dim": 16}, **model},
        "learning_rate": {"args": {"initial_lr": 0.001, "final_lr": 0.001}},
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(settings))
    train(folder / f"{name}.yaml")
    average_checkpoints(folder / "exp" / name, 1)
    return folder / "exp" / name


def _write_list(path: Path, known: Manifest) -> None:
    ids, speakers = (known.table[name].to_list() for name in ("utterance", "speaker"))
    made, _ = make_trials(ids, speakers, None, targets=100, nontargets=380, seed=1)
    with open(path, "wb") as file:
        write_trials(file, made)
