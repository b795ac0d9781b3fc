"""Who speaks, among many: do strangers pass, are speakers found, and how long it takes.

    python benchmarks/identification.py --model exp/mini/finetune/models \
        --embeddings exp/mini/finetune/embeddings/dev.npz

Some speakers of a table that the verifier was not fitted to are enrolled by three utterances each,
drawn by chance, 100 times; all other utterances ask who they are. Then a search among 100,000
random voices of as many dimensions is timed.
"""

import argparse
import time

import numpy as np

from tidyvoice.errors import TidyVoiceError, one_line_errors
from tidyvoice.scoring.embeddings import load_embeddings
from tidyvoice.verification.enrollment import Enrollment, Gallery
from tidyvoice.verification.verifier import Verifier

UTTERANCES = 3
DRAWS = 100
MANY = 100_000


def open_set(
    verifier: Verifier, vectors: np.ndarray, speakers: np.ndarray, enrolled: int, false_alarm: float
) -> tuple[float, float]:
    """Share of strangers who pass, and of enrolled speakers who are found."""
    rng, voices = np.random.default_rng(1), verifier.prepare(vectors)
    fitted = verifier.scale(UTTERANCES).distribution
    threshold = fitted.threshold(false_alarm, enrolled)
    passed, found = [], []
    for _ in range(DRAWS):
        names = rng.permutation(np.unique(speakers))[:enrolled]
        used = [rng.permutation(np.flatnonzero(speakers == name))[:UTTERANCES] for name in names]
        asked = np.setdiff1d(np.arange(len(vectors)), np.concatenate(used))
        means = verifier.prepare(np.stack([vectors[rows].mean(axis=0) for rows in used]))
        scores = voices[asked].scores(means)
        best, nearest = scores.max(axis=1), names[scores.argmax(axis=1)]
        known = np.isin(speakers[asked], names)
        passed.append((best[~known] >= threshold).mean())
        found.append(((best >= threshold) & (nearest == speakers[asked]))[known].mean())
    return float(np.mean(passed)), float(np.mean(found))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="model folder with a verifier.json")
    parser.add_argument("--embeddings", required=True, help="table with ids SPEAKER/...")
    parser.add_argument("--enrolled", type=int, nargs="+", default=[1, 5, 24])
    parser.add_argument("--false-alarm", type=float, nargs="+", default=[0.01, 0.05])
    args = parser.parse_args()
    verifier, table = Verifier.load(args.model), load_embeddings(args.embeddings)
    if verifier is None or verifier.model != table.model:
        raise TidyVoiceError(f"{args.model} has no verifier of the model of {args.embeddings}")
    speakers = np.array([name.split("/")[0] for name in table.ids])
    print("enrolled  asked  strangers pass  speakers found")
    for enrolled in args.enrolled:
        for rate in args.false_alarm:
            passed, found = open_set(verifier, table.vectors, speakers, enrolled, rate)
            print(f"{enrolled:8}  {rate:5.1%}  {passed:14.2%}  {found:14.1%}")

    random = np.random.default_rng(1).standard_normal((MANY, table.vectors.shape[1]))
    voices = [
        Enrollment(str(number), row, UTTERANCES, 3.0, verifier.model)
        for number, row in enumerate(random.astype(np.float32))
    ]
    gallery = Gallery(voices)
    for said in ("first search", "a search"):
        begun = time.perf_counter()
        gallery.nearest(table.vectors[:1], verifier)
        print(f"{said} among {MANY:,} voices: {1000 * (time.perf_counter() - begun):.1f} ms")


if __name__ == "__main__":
    with one_line_errors():
        main()
