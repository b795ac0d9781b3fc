"""Measure how much of the language an embedding holds, and the most that its removal could gain.

    python benchmarks/language_shift.py exp/mini/finetune exp/contrast/finetune

Of the dev embeddings of each experiment (less the mean, unit length):

- language found: by a linear classifier, fitted on the other three quarters of the speakers;
- shift: how far a speaker moves between languages, the root mean square distance of the mean of its
  utterances in one language from the mean over its languages; and which part of the square all
  speakers of a language share (the mean over them), with what would be shared by chance;
- EER of the hardest category (targets in two languages, non-targets in one) as it is, without each
  language's mean, and without each speaker's own shift.

The last two know dev's languages and speakers, in sample: bounds of what a training could do that
takes out what all speakers of a language share, or all that language changes.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from tidyvoice.data.manifest import Manifest
from tidyvoice.scoring.cosine import cosine_scores
from tidyvoice.scoring.embeddings import Embeddings, load_embeddings
from tidyvoice.scoring.metrics import eer
from tidyvoice.scoring.trials import Trials, read_trials

FOLDS = 4
SPREAD = 4.0  # of a coordinate that the classifier sees: its penalty is then weak


def group_means(vectors: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """For each row of vectors [N x D] the mean of its group [N]."""
    _, codes, counts = np.unique(groups, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), vectors.shape[1]))
    np.add.at(sums, codes, vectors)
    return (sums / counts[:, None])[codes]


def language_found(unit: np.ndarray, languages: np.ndarray, speakers: np.ndarray) -> float:
    """Share of utterances whose language a linear classifier of other speakers finds."""
    seen = unit * unit.shape[1] ** 0.5 * SPREAD
    right = np.zeros(len(unit), bool)
    for train, test in GroupKFold(FOLDS).split(seen, groups=speakers):
        classifier = LogisticRegression(max_iter=5000).fit(seen[train], languages[train])
        right[test] = classifier.predict(seen[test]) == languages[test]
    return float(right.mean())


def hardest(ids: list[str], vectors: np.ndarray, trials: Trials, languages: np.ndarray) -> float:
    """EER of targets in two languages against non-targets in one."""
    spoken = languages[trials.places_in(ids, "embedding")]
    same = spoken[trials.enroll] == spoken[trials.test]
    counted = trials.label != same
    scores = cosine_scores(Embeddings(ids, vectors.astype(np.float32)), trials)
    return eer(scores[counted], trials.label[counted])


def measure(experiment: Path, data: Path, trials: Trials) -> list[str]:
    """The cells of an experiment's line."""
    folder = experiment / "embeddings"
    table = load_embeddings(folder / "dev.npz")
    utterances = Manifest.read(data).table
    of = {row["utterance"]: row for row in utterances.iter_rows(named=True)}
    languages = np.array([of[i]["language"] for i in table.ids])
    speakers = np.array([of[i]["speaker"] for i in table.ids])
    centred = table.vectors - load_embeddings(folder / "mean.npz").mean()
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    both = np.char.add(np.char.add(speakers, "/"), languages)
    shift = group_means(unit, both) - group_means(unit, speakers)
    total = np.square(shift).sum()
    shared = np.square(group_means(shift, languages)).sum() / total
    # Shifts that had nothing in common would leave this of their square in a mean over speakers.
    chance = len(set(languages)) / len(set(both))
    without = (unit, unit - group_means(unit, languages), unit - shift)
    return [
        f"{100 * language_found(unit, languages, speakers):.1f}",
        f"{(total / len(unit)) ** 0.5:.3f}",
        f"{100 * shared:.0f} ({100 * chance:.0f})",
        *(f"{100 * hardest(table.ids, vectors, trials, languages):.2f}" for vectors in without),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiments", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, default=Path("data/mini/dev"))
    parser.add_argument(
        "--trials", type=Path, default=Path("data/mini/corpus/TidyVocieX_Dev_trialPairs.txt")
    )
    args = parser.parse_args()
    trials = read_trials(args.trials)
    head = ["experiment", "language found %", "shift", "shared % (chance)"]
    head += ["hardest EER %", "less language means", "less speakers' shifts"]
    print("| " + " | ".join(head) + " |")
    for experiment in args.experiments:
        cells = [str(experiment), *measure(experiment, args.data, trials)]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
