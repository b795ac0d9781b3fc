"""An experiment and helpers for the tests of publishing."""

from dataclasses import dataclass
from pathlib import Path

from tests import preloaded
from tests.fake_hub import TOKEN, FakeHub
from tidyvoice.config import Experiment
from tidyvoice.data.manifest import scan
from tidyvoice.data.packing import write_shards
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.extraction.extract import extract
from tidyvoice.scoring.embeddings import every_id, load_embeddings
from tidyvoice.scoring.fitting import Speech, fit_backend
from tidyvoice.scoring.groups import speakers_of
from tidyvoice.scoring.pairs import make_trials
from tidyvoice.scoring.pipeline import score_list
from tidyvoice.scoring.trials import write_trials
from tidyvoice.training.average import average_checkpoints
from tidyvoice.training.trainer import Trainer
from tidyvoice.verification.fit import fit_verifier


@dataclass(frozen=True)
class Trained:
    """A folder with its experiment, which began with the model ``initial``."""

    folder: Path
    experiment: Path
    initial: Path

    @property
    def model(self) -> Path:
        return self.experiment / "models"


def run(hub: FakeHub, where: Path, *command: object, **changes: str):
    """Run a command in its own process, because huggingface_hub reads its environment once."""
    env = hub.environment(where / "home", **{"HF_TOKEN": TOKEN, **changes})
    return preloaded.run(*command, cwd=where, env=env)


def make_trained(folder: Path, corpus: Path, voices: Path) -> Trained:
    """Train and score on a corpus of eight speakers.

    Four speakers are in the training data, "dev" has the four others, "dev-llr" is in-sample.
    """
    known = scan(corpus, language_folder=True)
    known.write(folder / "data" / "known")
    names, data = known.speakers(), folder / "data" / "train"
    known.select(names[:4]).write(data, "The tones are free.")
    write_shards(data, per_shard=20)
    chunks = {"train": str(data), "chunk_frames": 40, "batch_size": 4, "num_workers": 1}
    settings = {
        "experiment": str(folder / "exp"),
        "epochs": 1,
        "epoch_iterations": 2,
        "device": "cpu",
        "data": chunks,
        "model": {"args": {"in_planes": 2, "embed_dim": 16}, "init": str(voices / "model")},
        "learning_rate": {"args": {"initial_lr": 0.001, "final_lr": 0.001}},
    }
    Trainer(Experiment.model_validate(settings)).run()
    experiment = folder / "exp"
    average_checkpoints(experiment, 1)
    table = experiment / "embeddings" / "all.npz"
    encoder = SpeakerEncoder.from_pretrained(experiment / "models", "cpu")
    extract(encoder, folder / "data/known", table)
    others = known.select(names[4:]).table
    ids, speakers = (others[name].to_list() for name in ("utterance", "speaker"))
    trials, _ = make_trials(ids, speakers, None, targets=100, nontargets=380, seed=1)
    with open(folder / "fair.txt", "wb") as file:
        write_trials(file, trials)
    score_list(table, folder / "fair.txt", experiment / "scores" / "dev.score")
    everyone = load_embeddings(table)
    speech = Speech(everyone, speakers_of(every_id(everyone, "all")))
    fit_backend(speech, "lda", 4).save(folder / "backend.json")
    seen = {"backend": folder / "backend.json", "allow_overlap": True}
    score_list(table, voices / "trials", experiment / "scores" / "dev-llr.score", **seen)
    fit_verifier(table, voices / "trials", **seen).save(experiment / "models")
    return Trained(folder, experiment, voices / "model")
