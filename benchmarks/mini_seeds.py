"""The recipe mini for several seeds: mean and spread of its metrics, system by system.

    python benchmarks/mini_seeds.py --seeds 1 2 3

Corpus and data folders are those of ./run.sh --recipe mini and are made if need be; the trainings
of each seed go to exp/mini_seeds/SEED. The untrained model is the seed's first checkpoint.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIDYVOICE = (sys.executable, "-m", "tidyvoice")
# Score files of a seed's folder.
SYSTEMS = {
    "untrained": "untrained/scores/dev.score",
    "pretrained": "pretrain/scores/dev.score",
    "fine-tuned": "finetune/scores/dev.score",
    "+ AS-norm": "finetune/scores/dev-asnorm.score",
    "+ AS-norm, calibrated": "finetune/scores/dev-llr-asnorm.score",
    "+ language-aware norm": "finetune/scores/dev-language.score",
    "+ language-aware norm, calibrated": "finetune/scores/dev-llr.score",
}


def call(*command: object) -> str:
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def evaluate_untrained(exp: Path, data: Path) -> None:
    """Scores of the pretraining's first checkpoint, centred as run.sh centres the others."""
    untrained = exp / "untrained"
    (untrained / "models").mkdir(parents=True, exist_ok=True)
    shutil.copy(exp / "pretrain/models/model_0000.pt", untrained / "models")
    shutil.copy(exp / "pretrain/config.yaml", untrained)
    call(*TIDYVOICE, "average", untrained, "--unfinished")
    tables = {name: untrained / "embeddings" / f"{name}.npz" for name in ("dev", "mean")}
    extract = (*TIDYVOICE, "extract", "--model", untrained / "models")
    call(*extract, "--data", data / "dev", "--out", tables["dev"])
    call(*extract, "--data", data / "finetune", "--limit", 500, "--out", tables["mean"])
    call(
        *TIDYVOICE, "score", "--embeddings", tables["dev"], "--mean", tables["mean"],
        "--trials", data / "corpus/TidyVocieX_Dev_trialPairs.txt",
        "--out", untrained / "scores/dev.score",
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--data", type=Path, default=Path("data/mini"))
    parser.add_argument("--exp", type=Path, default=Path("exp/mini_seeds"))
    args = parser.parse_args()
    figures: dict[str, list[list[float]]] = {system: [] for system in SYSTEMS}
    categories: list[str] = []
    for seed in args.seeds:
        exp = args.exp / str(seed)
        run = ("./run.sh", "--recipe", "mini", "--data", args.data, "--exp", exp, "--seed", seed)
        call(*run, "--set", "normalize=asnorm")
        scores = exp / "finetune/scores"
        shutil.copy(scores / "dev-llr.score", scores / "dev-llr-asnorm.score")
        print(call(*run, "--stage", 7).rpartition("== stage 7")[2], flush=True)
        evaluate_untrained(exp, args.data)
        for system, path in SYSTEMS.items():
            rows = json.loads(call(*TIDYVOICE, "metrics", exp / path, "--json"))["categories"]
            pooled, categories = rows[0], [row["category"] for row in rows]
            costs = [pooled["min_dcf"], pooled["act_dcf"], pooled["cllr"], pooled["min_cllr"]]
            figures[system].append([*(100 * row["eer"] for row in rows), *costs])
    print(f"mean (standard deviation) of seeds {', '.join(map(str, args.seeds))}\n")
    names = [*(f"EER % {category}" for category in categories)]
    names += ["minDCF", "actDCF", "Cllr", "minCllr"]
    print("| system | " + " | ".join(names) + " |\n" + "|---" * (len(names) + 1) + "|")
    for system, rows in figures.items():
        cells = [
            f"{statistics.mean(column):.2f} ({statistics.stdev(column) if column[1:] else 0:.2f})"
            for column in zip(*rows, strict=True)
        ]
        print(f"| {system} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
