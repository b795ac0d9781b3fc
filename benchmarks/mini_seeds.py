"""The recipe mini for several seeds: mean and standard deviation of its metrics, system by system.

    python benchmarks/mini_seeds.py --seeds 1 2 3

Corpus and data folders are those of ./run.sh --recipe mini and are made if need be; the trainings
of each seed go to exp/mini_seeds/SEED.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Score files of a seed's folder.
SYSTEMS = {
    "pretrained": "pretrain/scores/dev.score",
    "fine-tuned": "finetune/scores/dev.score",
    "back end": "finetune/scores/dev-backend.score",
    "calibrated": "finetune/scores/dev-llr.score",
}
COSTS = {"minDCF": "min_dcf", "actDCF": "act_dcf", "Cllr": "cllr", "minCllr": "min_cllr"}


def call(*command: object) -> str:
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def metrics(scores: Path) -> dict[str, float]:
    """EER in percent of each category, then the costs of all trials, by their names."""
    command = (sys.executable, "-m", "tidyvoice", "metrics", scores, "--json")
    rows = json.loads(call(*command))["categories"]
    values = {f"EER % {row['category']}": 100 * row["eer"] for row in rows}
    return values | {name: rows[0][key] for name, key in COSTS.items()}


def cell(values: list[float]) -> str:
    """Mean (standard deviation)."""
    spread = statistics.stdev(values) if len(values) > 1 else 0
    return f"{statistics.mean(values):.2f} ({spread:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--data", type=Path, default=Path("data/mini"))
    parser.add_argument("--exp", type=Path, default=Path("exp/mini_seeds"))
    args = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {system: [] for system in SYSTEMS}
    for seed in args.seeds:
        exp = args.exp / str(seed)
        call(
            "./run.sh",
            "--recipe",
            "mini",
            "--data",
            args.data,
            "--exp",
            exp,
            "--set",
            f"seed={seed}",
        )
        for system, path in SYSTEMS.items():
            found[system].append(metrics(exp / path))
    names = list(found["pretrained"][0])
    print(f"mean (standard deviation) of seeds {', '.join(map(str, args.seeds))}\n")
    print("| system | " + " | ".join(names) + " |\n" + "|---" * (len(names) + 1) + "|")
    for system, rows in found.items():
        # actDCF and Cllr mean nothing before calibration.
        blank = () if system == "calibrated" else ("actDCF", "Cllr")
        cells = ["" if name in blank else cell([row[name] for row in rows]) for name in names]
        print(f"| {system} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
