"""Embeddings of speakers, languages and channels, and scores of them by the commands."""

from pathlib import Path

import numpy as np

from tests.conftest import seeded, succeed
from tidyvoice.evaluation.categories import evaluate
from tidyvoice.scoring.embeddings import load_embeddings, save_embeddings
from tidyvoice.scoring.trials import read_scores

LANGUAGES = ("en", "fr", "sw")
# Options that the commands of one folder share.
COHORT = "--cohort train.npz --cohort-utt2spk train/utt2spk --top-n 20"
DEV = "--scores dev.score --embeddings dev.npz --mean train.npz"
GUESSED = "--languages guessed --backend backend.json"


def write_set(folder: Path, name: str, first: int, speakers: int, trained_on: list[str]) -> None:
    """A data folder and embeddings: speaker, language and channel each pull at them."""
    rng = seeded(first, 21)
    voices = rng.standard_normal((speakers, 24))
    tongues = seeded(22).standard_normal((3, 24))
    ids, vectors = [], []
    for speaker in range(speakers):
        for number in range(12):
            spoken = number % 3
            ids.append(f"id{first + speaker:04d}/{LANGUAGES[spoken]}/{number}.wav")
            noise = rng.standard_normal(24)
            vectors.append(voices[speaker] + 0.6 * tongues[spoken] + 0.9 * noise + 0.5)
    data = folder / name
    data.mkdir(parents=True)
    for table, value in (
        ("wav.scp", lambda i: f"/nowhere/{i}"),
        ("utt2spk", lambda i: i.split("/")[0]),
        ("utt2lang", lambda i: i.split("/")[1]),
        ("utt2dur", lambda i: f"{2 + int(i.split('/')[2][:-4]) / 4}"),
    ):
        (data / table).write_text("".join(f"{i} {value(i)}\n" for i in sorted(ids)))
    save_embeddings(folder / f"{name}.npz", ids, np.array(vectors, dtype=np.float32), trained_on)


def normalize(name: str, out: Path, *more: object) -> str:
    """Normalise the scores of a list in the current folder."""
    table = f"--scores {name}.score --embeddings {name}.npz --mean train.npz"
    return succeed(f"normalize {table} {COHORT} --out", out, *more)


def compare(name: str, out: Path, backend: object = "backend.json", *more: object) -> str:
    """Score a list in the current folder by a back end."""
    lists = f"--embeddings {name}.npz --trials {name}.trials"
    return succeed(f"score {lists} --backend {backend} --out", out, *more)


def pooled(path: Path):
    return evaluate(read_scores(path), None)[0]


def write_pipeline(folder: Path) -> Path:
    """Scores of three lists in a folder, made by the commands."""

    def score(name: str) -> None:
        lists = f"--embeddings {folder}/{name}.npz --trials {folder}/{name}.trials"
        succeed(f"score {lists} --mean {folder}/train.npz --out {folder}/{name}.score")

    trained_on = [f"id{n:04d}" for n in range(40)]
    for name, first, speakers in (("train", 0, 40), ("calib", 100, 16), ("dev", 200, 16)):
        write_set(folder, name, first, speakers, trained_on)
    for name in ("calib", "dev"):
        numbers = "--targets 700 --nontargets 1500"
        succeed(f"trials {folder}/{name} --out {folder}/{name}.trials {numbers}")
        score(name)
    fit = f"fit-backend --embeddings {folder}/train.npz --out {folder}/backend.json"
    succeed(f"{fit} --method lda --dimensions 16")
    # An evaluation list as the challenge gives it: flat ids, no labels.
    table = load_embeddings(folder / "dev.npz")
    flat = {utterance: f"j{number:05d}" for number, utterance in enumerate(table.ids)}
    save_embeddings(folder / "eval.npz", list(flat.values()), table.vectors)
    lines = (folder / "dev.trials").read_text().splitlines()
    pairs = ["\t".join(flat[word] for word in line.split()[:2]) for line in lines]
    (folder / "eval.trials").write_text("\n".join(pairs) + "\n")
    score("eval")
    return folder
