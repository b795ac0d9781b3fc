"""Compare training methods and back ends on the built-in corpus, over seeds.

    python benchmarks/sweep.py --seeds 1 2 3
    python benchmarks/sweep.py --seeds 1 2 3 --shared 0.5 0.0 0.8 --write

Run the same command again to resume: finished steps are skipped. Several processes may run at once,
each with other ``--seeds``; a last run with all of them prints the tables. Data are in DATA/SHARED,
experiments in EXP/SHARED/SEED/METHOD. The folder of the baseline is that of ./run.sh --recipe mini,
up to stage 7; all methods start from its pretraining.

The main table is that of the first value of ``--shared``, a mean over ``--seeds``. Each difference
from the baseline has its standard deviation over the seeds, and an interval for other speakers.
The interval is corrected for the number m of differences in the table (Bonferroni): mean +- z s.
Here z is the quantile 1 - 0.025 / m of the normal distribution, and s the standard deviation of the
mean over the seeds in 1,000 resamples of the speakers, the same for all systems and seeds.
Percentiles would not do: 1,000 resamples have none so far out. ``*`` marks intervals without zero,
and ``†`` back ends whose dimensions the held-out speakers chose: their column flatters them.

Dev has 160 speakers in place of the recipe's 48, so that small differences can be seen. All other
data are the recipe's.

``--only contrast contrast=2`` compares the variant with the same loss at the weight 2.

With several values of ``--shared``, a second table has the differences in the hardest category for
each value, over ``--shared-seeds``. Its first lines are measured on the baseline's dev embeddings:
the part of a voice's change between languages that all speakers of a language share, by an analysis
of variance, and how often a linear classifier of other speakers finds the language.

``--write`` puts the tables into docs/experiments.md and docs/built-in-corpus.md.
"""

import argparse
import functools
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from tidyvoice.data.manifest import Manifest
from tidyvoice.evaluation.categories import CATEGORIES, POOLED
from tidyvoice.evaluation.evaluate import Evaluation, ScoreFile, evaluate
from tidyvoice.files import one_at_a_time, source_hash
from tidyvoice.scoring.embeddings import load_embeddings

ROOT = Path(__file__).resolve().parent.parent
BASELINE, PLAIN = "baseline", "centre"
METHODS = (BASELINE, "adversary", "contrast", "proto")  # plain, and names of conf/variants
# Settings of the losses whose weight --only changes.
WEIGHTS = {
    "adversary": "adversary",
    "contrast": "contrast",
    "contrast_hard": "contrast",
    "proto": "prototypes",
}
# The commands of the back ends. "calibrate" calibrates the scores of the name before the comma.
BACKENDS = {
    PLAIN: "fit-backend --method centre --no-cohort",
    "AS-norm": "normalize --method asnorm --top-n 40",
    "cohort": "fit-backend --method centre",
    "nap": "fit-backend --method nap --dimensions 1 2 4 8 --no-cohort",
    "nap, cohort": "fit-backend --method nap --dimensions 1 2 4 8",
    "lda": "fit-backend --method lda --dimensions 10 20 40 --no-cohort",
    "lda, cohort": "fit-backend --method lda --dimensions 10 20 40",
    "plda": "fit-backend --method plda --dimensions 10 20 40 --no-cohort",
    "plda, cohort": "fit-backend --method plda --dimensions 10 20 40",
    "stage 7": "fit-backend --method centre lda plda --dimensions 10 20 40",
    "stage 7, guessed languages": "calibrate --languages guessed",
    "stage 7, known languages": "calibrate --languages known",
}
# METHOD+BACKEND; the other back ends are those of the baseline.
COMBINED = [f"{method}+stage 7, guessed languages" for method in METHODS[1:]]
DEV = ("dev.speakers=160", "trials.targets=11000", "trials.nontargets=22000")
HARDEST = "different/same"  # targets in two languages, non-targets in one
# The metrics by title: list, category of the EER or None for minDCF, digits.
METRICS = {
    "EER %": ("dev", POOLED, 2),
    "hardest EER %": ("dev", HARDEST, 2),
    "minDCF": ("dev", None, 3),
    "held-out": ("calib", HARDEST, 2),
}
# Score files of ./run.sh in the baseline's folder.
RECIPE = {
    "pretrained": "pretrain/scores/dev.score",
    "fine-tuned": "finetune/scores/dev.score",
    "with the back end": "finetune/scores/dev-backend.score",
    "calibrated": "finetune/scores/dev-llr.score",
}
source = functools.cache(source_hash)
FOLDS = 4  # of the speakers, for the classifier of languages
SPREAD = 4.0  # of a coordinate that it sees: its penalty is then weak


class Place(NamedTuple):
    """The folders of a value of ``corpus.shared_shift`` and a seed."""

    data: Path
    exp: Path
    shared: float
    seed: int


class System(NamedTuple):
    """A line of the table."""

    method: str
    backend: str

    @property
    def title(self) -> str:
        chosen = "--dimensions" in BACKENDS[self.backend] or self.backend.startswith("stage 7")
        parts = [self.method] * (self.method != BASELINE) + [self.backend] * (self.backend != PLAIN)
        return " + ".join(parts or [BASELINE]) + " †" * chosen


def systems(methods: Iterable[str]) -> tuple[System, ...]:
    """Return the lines of the table, the baseline first."""
    methods = dict.fromkeys([BASELINE, *methods])
    backends = [System(BASELINE, backend) for backend in BACKENDS]
    combined = [System(*name.split("+")) for name in COMBINED]
    plain = [System(method, PLAIN) for method in methods if method != BASELINE]
    return (*backends, *plain, *(system for system in combined if system.method in methods))


def call(*command: object) -> None:
    words = [str(word) for word in command]
    print("+", *words, file=sys.stderr, flush=True)
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def make(out: Path, *command: object) -> Path:
    """Run a command of tidyvoice that writes ``out``, unless this code did, from these inputs."""
    stamp = out.with_name(f".{out.name}.command")
    text = "\n".join([*map(str, command), source()])
    folders = [word for word in command if isinstance(word, Path)]
    inputs = [path / name for path in folders for name in ("", "wav.scp", "avg_model.pt")]
    if out.exists() and stamp.exists() and stamp.read_text() == text:
        made = stamp.stat().st_mtime
        if all(path.stat().st_mtime <= made for path in inputs if path.is_file()):
            return out
    out.parent.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    call(sys.executable, "-m", "tidyvoice", *command, "--out", out)
    stamp.write_text(text)
    return out


def train(place: Place, method: str) -> Path:
    """Prepare the data, train a method and extract its embeddings; its experiment."""
    run = ["./run.sh", "--recipe", "mini", "--data", place.data, "--exp", place.exp / method]
    seed = f"seed={place.seed}"
    if method == BASELINE:
        with one_at_a_time(place.data / "sweep"):  # of all seeds
            corpus = [f"shared_shift={place.shared}", *DEV]
            changes = [seed, *(f"corpus.{change}" for change in corpus)]
            call(*run, "--stop-stage", 2, "--set", *changes)
        call(*run, "--stage", 3, "--stop-stage", 7, "--set", seed)
        return place.exp / method / "finetune"
    variant, _, weight = method.partition("=")
    run += ["--variant", variant, "--init-from", place.exp / BASELINE / "pretrain/models"]
    changes = [f"finetune.languages.{WEIGHTS[variant]}={weight}"] * bool(weight)
    changes += [seed, "finetune.validation=null"]
    call(*run, "--stage", 4, "--stop-stage", 5, "--set", *changes)
    folder = place.exp / method / "finetune"
    model = ["--model", folder / "models", "--data", place.data / "calib"]
    make(folder / "embeddings/calib.npz", "extract", *model, "--strict")
    return folder


def score(folder: Path, data: Path, backend: str) -> dict[str, Path]:
    """Score dev and the held-out speakers, calib, with a back end; the files by list."""
    trials = {"dev": data / "corpus/TidyVocieX_Dev_trialPairs.txt", "calib": data / "calib/trials"}
    table = {name: folder / f"embeddings/{name}.npz" for name in (*trials, "mean")}
    out = {name: folder / f"sweep/{backend}/{name}.score" for name in trials}
    speakers, languages = data / "finetune/utt2spk", data / "finetune/utt2lang"
    command = BACKENDS[backend].split()
    if command[0] == "fit-backend":
        held_out = ["--held-out", table["calib"], "--trials", trials["calib"]]
        fit = [*command, *(held_out if "--dimensions" in command else [])]
        fit += ["--embeddings", table["mean"], "--utt2spk", speakers, "--utt2lang", languages]
        fitted = make(folder / f"sweep/{backend}/backend.json", *fit)
        for name, file in out.items():
            pair = ["--embeddings", table[name], "--trials", trials[name]]
            make(file, "score", *pair, "--backend", fitted)
    elif command[0] == "normalize":
        mean = ["--mean", table["mean"]]
        cohort = ["--cohort", table["mean"], "--cohort-utt2spk", speakers]
        for name, file in out.items():
            pair = ["--embeddings", table[name], "--trials", trials[name]]
            cosines = make(file.with_name(f"{name}-cosine.score"), "score", *pair, *mean)
            make(file, *command, "--scores", cosines, *pair[:2], *mean, *cohort)
    else:
        below = backend.partition(",")[0]
        scores = score(folder, data, below)
        if "guessed" in command:
            command += ["--backend", folder / f"sweep/{below}/backend.json"]
            command += ["--embeddings", table["calib"], table["dev"]]
        make(out["dev"], *command, "--fit", scores["calib"], "--apply", scores["dev"])
        make(out["calib"], *command, "--cross-fit", 5, "--apply", scores["calib"])
    return out


@functools.cache
def results(place: Place, wanted: tuple[System, ...]) -> dict[System, dict[str, Evaluation]]:
    """Make what is missing, and return the evaluation of each system by list."""
    folders = {method: train(place, method) for method in dict.fromkeys(s.method for s in wanted)}
    found = {}
    for system in wanted:
        files = score(folders[system.method], place.data, system.backend)
        found[system] = {name: evaluation(file, place, name) for name, file in files.items()}
    return found


def evaluation(file: Path, place: Place, name: str) -> Evaluation:
    tables = [(place.data / name / table,) for table in ("utt2lang", "utt2spk")]
    return evaluate(ScoreFile(file, None, *tables), resamples=1000)


def values(result: Evaluation, category: str | None) -> np.ndarray:
    """Return a metric, then its value in each resample: EER in percent, or minDCF for None."""
    if category is None:
        return np.array([result.pooled.min_dcf, *result.draws.min_dcf[0]], dtype=float)
    return 100 * np.array([result.row(category).eer, *result.draws.eer[category]], dtype=float)


def cell(numbers: Sequence[float], digits: int = 2, sign: str = "") -> str:
    """Mean (standard deviation)."""
    spread = f" ({statistics.stdev(numbers):.{digits}f})" if len(numbers) > 1 else ""
    return f"{statistics.mean(numbers):{sign}.{digits}f}{spread}"


def table(head: Iterable[str], lines: Iterable[Sequence[str]]) -> str:
    first, *others = (f"| {' | '.join(line)} |" for line in (head, *lines))
    return "\n".join([first, "|---" * (first.count("|") - 1) + "|", *others])


def main_table(places: Sequence[Place], wanted: tuple[System, ...]) -> str:
    """Metrics of each system, and their differences from the baseline's; see the top."""
    each = [results(place, wanted) for place in places]
    level = statistics.NormalDist().inv_cdf(1 - 0.025 / ((len(wanted) - 1) * len(METRICS)))
    lines = []
    for system in wanted:
        line = [system.title]
        for name, category, digits in METRICS.values():
            ours = np.array([values(of[system][name], category) for of in each])
            less = ours - np.array([values(of[wanted[0]][name], category) for of in each])
            if name == "dev":
                line.append(f"{ours[:, 0].mean():.{digits}f}")
            if system == wanted[0]:
                line.append("")
                continue
            variance = np.nanvar(less[:, 1:].mean(axis=0), ddof=1)
            if system.method != BASELINE and len(less) > 1:
                variance += less[:, 0].var(ddof=1) / len(less)
            half = level * variance**0.5
            low, high = less[:, 0].mean() - half, less[:, 0].mean() + half
            sure = "*" if low > 0 or high < 0 else ""
            ends = f"[{low:+.{digits}f}, {high:+.{digits}f}]{sure}"
            line.append(f"{cell(less[:, 0], digits, '+')} {ends}")
        lines.append(line)
    dev = [title for title, of in METRICS.items() if of[0] == "dev"]
    head = [word for title in dev for word in (title, "difference")]
    return table(["system", *head, "held-out speakers, hardest: difference"], lines)


def shared_table(places: Sequence[Place], wanted: tuple[System, ...]) -> str:
    """Differences in the hardest category for each value of the setting; see the top."""
    by_value: dict[float, list[Place]] = {}
    for place in places:
        by_value.setdefault(place.shared, []).append(place)
    columns = []
    for group in by_value.values():
        each = [results(place, wanted) for place in group]
        languages = [measure_languages(place) for place in group]
        column = [cell(numbers, 0) for numbers in zip(*languages, strict=True)]
        eers = [[100 * of[s]["dev"].row(HARDEST).eer for of in each] for s in wanted]
        column += [cell(eers[0])]
        column += [cell(np.subtract(ours, eers[0]), sign="+") for ours in eers[1:]]
        columns.append(column)
    names = ["shared part, measured, %", "language found, %", f"{BASELINE}, hardest EER %"]
    names += [system.title for system in wanted[1:]]
    return table(["`corpus.shared_shift`", *map(str, by_value)], zip(names, *columns, strict=True))


def measure_languages(place: Place) -> tuple[float, float]:
    """Return the shared part of the shift and how often the language is found, in percent."""
    folder = place.exp / BASELINE / "finetune/embeddings"
    dev = load_embeddings(folder / "dev.npz")
    centred = dev.vectors - load_embeddings(folder / "mean.npz").mean()
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    rows = Manifest.read(place.data / "dev").table.iter_rows(named=True)
    of = {row["utterance"]: (row["speaker"], row["language"]) for row in rows}
    names = zip(*(of[utterance] for utterance in dev.ids), strict=True)
    speakers, languages = (np.unique(each, return_inverse=True)[1] for each in names)
    shared = shared_part(unit, speakers, languages)
    return 100 * shared, 100 * language_found(unit, speakers, languages)


def shared_part(unit: np.ndarray, speakers: np.ndarray, languages: np.ndarray) -> float:
    """Return the part of the variance between a speaker's languages that speakers share.

    Args: unit: embeddings [N x D]; speakers, languages: their numbers [N].
    """
    number = languages.max() + 1
    pairs, pair, sizes = np.unique(
        speakers * number + languages, return_inverse=True, return_counts=True
    )
    owner, language = np.divmod(pairs, number)
    centres = means(unit, pair)
    within = np.square(unit - centres[pair]).sum() / (len(unit) - len(pairs))
    shift = centres - means(centres, owner)[owner]
    # Utterances that differ move the means of a speaker's languages too.
    free = len(pairs) - len(np.unique(owner))
    variance = np.square(shift).sum() / free - within * (1 / sizes).mean()
    # Speakers of a language would agree this much if it alone moved their voices: less than
    # one, because each shift is measured from the mean over the speaker's own languages.
    one_hot = np.eye(number)[language]
    most = agreement(one_hot - means(one_hot, owner)[owner], language)
    return agreement(shift, language) / most / variance


def means(vectors: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the mean of each group, [G x D], of vectors [N x D] and their groups' numbers [N]."""
    groups = np.unique(groups, return_inverse=True)[1]
    sums = np.zeros((groups.max() + 1, vectors.shape[1]))
    np.add.at(sums, groups, vectors)
    return sums / np.bincount(groups)[:, None]


def agreement(vectors: np.ndarray, groups: np.ndarray) -> float:
    """Return the sum of the dot products of all pairs of different vectors in one group."""
    sums = means(vectors, groups) * np.unique(groups, return_counts=True)[1][:, None]
    return np.square(sums).sum() - np.square(vectors).sum()


def language_found(unit: np.ndarray, speakers: np.ndarray, languages: np.ndarray) -> float:
    """Return the accuracy of a linear classifier that was fitted to other speakers."""
    seen = unit * unit.shape[1] ** 0.5 * SPREAD
    right = np.zeros(len(unit), bool)
    for fit, test in GroupKFold(FOLDS).split(seen, groups=speakers):
        classifier = LogisticRegression(max_iter=5000).fit(seen[fit], languages[fit])
        right[test] = classifier.predict(seen[test]) == languages[test]
    return float(right.mean())


def recipe_table(places: Sequence[Place]) -> str:
    """Metrics of the recipe's own score files."""
    lines = []
    for title, path in RECIPE.items():
        rows = [evaluation(place.exp / BASELINE / path, place, "dev") for place in places]
        line = [cell([100 * of.row(name).eer for of in rows]) for name in (POOLED, *CATEGORIES)]
        for name in ("min_dcf", "act_dcf", "cllr", "min_cllr"):
            # actDCF and Cllr mean nothing before calibration.
            known = title == "calibrated" or name.startswith("min")
            line.append(cell([getattr(of.pooled, name) for of in rows]) if known else "")
        lines.append([title, *line])
    head = ["system", "EER %", *CATEGORIES, "minDCF", "actDCF", "Cllr", "minCllr"]
    return table(head, lines)


def renew(path: Path, name: str, text: str) -> None:
    """Replace the table between the marks of a page."""
    mark, end = f"<!-- {name} -->", "<!-- end -->"
    before, found, rest = path.read_text().partition(mark)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise SystemExit(f"{path}: put the lines {mark} and {end} where the table belongs")
    path.write_text(f"{before}{mark}\n\n{text}\n\n{end}{after}")


def main() -> None:
    os.chdir(ROOT)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    usual = yaml.safe_load((ROOT / "conf/mini/corpus.yaml").read_text())["shared_shift"]
    names = [BASELINE, *sorted(path.stem for path in (ROOT / "conf/variants").glob("*.yaml"))]
    add("--seeds", type=int, nargs="+", default=[1, 2, 3])
    add("--shared", type=float, nargs="+", default=[float(usual)], help="corpus.shared_shift")
    add("--shared-seeds", type=int, nargs="+", help="seeds of the second table: the first one")
    add("--data", type=Path, default=Path("data/sweep"))
    add("--exp", type=Path, default=Path("exp/sweep"))
    add("--only", nargs="+", default=METHODS, metavar="METHOD[=WEIGHT]", help="of these")
    add("--write", action="store_true", help="renew the tables of docs")
    args = parser.parse_args()
    for method in args.only:
        name, weight, _ = method.partition("=")
        if name not in names or (weight and name not in WEIGHTS):
            weighted = ", ".join(f"{each}=WEIGHT" for each in WEIGHTS)
            parser.error(f"--only {method}: give some of {', '.join(names)}, {weighted}")

    def places(shared: float, seeds: list[int]) -> list[Place]:
        data, exp = args.data / str(shared), args.exp / str(shared)
        return [Place(data, exp / str(seed), shared, seed) for seed in seeds]

    wanted, first = systems(args.only), places(args.shared[0], args.seeds)
    tables = {("experiments", "sweep"): main_table(first, wanted)}
    tables["built-in-corpus", "sweep"] = recipe_table(first)
    if len(args.shared) > 1:
        seeds = args.shared_seeds or args.seeds[:1]
        each = [place for shared in args.shared for place in places(shared, seeds)]
        tables["experiments", "shared shift"] = shared_table(each, wanted)
    for (page, name), text in tables.items():
        print(f"\n{text}")
        if args.write:
            renew(ROOT / f"docs/{page}.md", name, text)


if __name__ == "__main__":
    main()
