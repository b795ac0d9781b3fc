"""Losses, language terms and samplers on the built-in corpus, against the plain fine-tuning.

    python benchmarks/variants.py --seeds 1 2 3
    python benchmarks/variants.py --seeds 1 --list calib      # to choose weights by

Each setting is a file of conf/variants, fine-tuned from the pretraining of its seed and scored
as ./run.sh --recipe mini does. Finished systems are skipped, so an interrupted sweep resumes.
Several sweeps may run at once, each with other --seeds. Corpus and data folders are those of
./run.sh --recipe mini.

Each row is the mean over the seeds; below zero is better than the baseline. The interval of a
difference comes from 1,000 resamples of the speakers, the same ones for every system and seed
(tidyvoice.evaluation.bootstrap): it says what other speakers would give, not what other seeds
would, whose spread stands beside it.
"""

import argparse
import statistics
import subprocess
from pathlib import Path

import numpy as np

from tidyvoice.evaluation.bootstrap import interval
from tidyvoice.evaluation.categories import POOLED
from tidyvoice.evaluation.evaluate import Evaluation, evaluate
from tidyvoice.report.system import load_system

ROOT = Path(__file__).resolve().parent.parent
HARDEST = "different/same"  # targets in two languages, non-targets in one
BASELINE = "baseline"


def variants() -> list[str]:
    """The baseline, and every file of conf/variants."""
    return [BASELINE, *sorted(path.stem for path in (ROOT / "conf/variants").glob("*.yaml"))]


def make(seed: int, variant: str, data: Path, exp: Path) -> Path:
    """Fine-tune and score a setting; its experiment."""
    folder = exp / str(seed) / variant
    run = ["./run.sh", "--recipe", "mini", "--data", data]
    pretrained = exp / str(seed) / "pretrain/models"
    if not (pretrained / "avg_model.pt").exists():
        call([*run, "--exp", exp / str(seed), "--stop-stage", 3, "--set", f"seed={seed}"])
    chosen = [] if variant == BASELINE else ["--variant", variant]
    run += ["--exp", folder, "--init-from", pretrained, *chosen, "--stage", 4, "--stop-stage", 6]
    call([*run, "--set", f"seed={seed}", "finetune.validation=null"])
    return folder / "finetune"


def score_calib(experiment: Path, data: Path) -> None:
    """Score the trials of the held-out speakers, unless that is done."""
    table, scores = experiment / "embeddings/calib.npz", experiment / "scores/calib.score"
    trained = (experiment / "models/avg_model.pt").stat().st_mtime
    if not scores.exists() or scores.stat().st_mtime < trained:
        model = ["--model", experiment / "models", "--data", data / "calib"]
        call(["tidyvoice", "extract", *model, "--out", table])
        trials = ["--embeddings", table, "--trials", data / "calib/trials"]
        mean = ["--mean", experiment / "embeddings/mean.npz"]
        call(["tidyvoice", "score", *trials, *mean, "--out", scores])


def call(command: list) -> None:
    words = [str(word) for word in command]
    subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def row(name: str, ours: list[Evaluation], baseline: list[Evaluation]) -> str:
    """A line of the table: EER of both categories, and what it differs from the baseline by."""
    cells = [name]
    for category in (POOLED, HARDEST):
        each = [100 * result.row(category).eer for result in ours]
        less = [
            100 * (one.row(category).eer - two.row(category).eer)
            for one, two in zip(ours, baseline, strict=True)
        ]
        mean = np.mean(
            [
                draws(one, category) - draws(two, category)
                for one, two in zip(ours, baseline, strict=True)
            ],
            axis=0,
        )
        low, high = (100 * end for end in interval(mean))
        spread = statistics.stdev(less) if len(less) > 1 else 0.0
        sure = "*" if low > 0 or high < 0 else ""
        cells.append(f"{statistics.mean(each):.2f}")
        cells.append(f"{statistics.mean(less):+.2f} ({spread:.2f}) [{low:+.2f}, {high:+.2f}]{sure}")
    return "| " + " | ".join(cells) + " |"


def draws(result: Evaluation, category: str) -> np.ndarray:
    return np.array(result.draws.eer[category], dtype=float)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--data", type=Path, default=Path("data/mini"))
    parser.add_argument("--exp", type=Path, default=Path("exp/variants"))
    parser.add_argument("--only", nargs="+", default=variants(), choices=variants())
    parser.add_argument("--list", choices=["dev", "calib"], default="dev", help="trials")
    args = parser.parse_args()
    found: dict[str, list[Evaluation]] = {}
    maps = {name: [args.data / args.list / name] for name in ("utt2lang", "utt2spk")}
    for variant in dict.fromkeys([BASELINE, *args.only]):
        for seed in args.seeds:
            folder = make(seed, variant, args.data, args.exp)
            if args.list == "calib":
                score_calib(folder, args.data)
            system = load_system(folder, args.list, variant, **maps)
            result = evaluate(system.file, resamples=1000)
            found.setdefault(variant, []).append(result)
        print(row(variant, found[variant], found[BASELINE]), flush=True)


if __name__ == "__main__":
    main()
