"""Checks of data folders and trial lists, also against the counts that a corpus should have."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import soundfile
from pydantic import Field, model_validator

from tidyvoice.config import ModelSettings
from tidyvoice.data.manifest import Manifest, check, parts_of
from tidyvoice.doctor.machine import Finding, Need, judge
from tidyvoice.errors import TidyVoiceError
from tidyvoice.headers import SAMPLE_RATE, measure
from tidyvoice.scoring.trials import read_trials, stem
from tidyvoice.settings import Strict

SAMPLED_HEADERS = 200
SHOWN_PROBLEMS = 10
TAR_BYTES = 2048  # headers and padding of an utterance in a shard
RESTORE = "Restore the file, or run stage 1 again"


class Quantity(Strict):
    """Expected number, and the fraction of it by which a measured one may differ."""

    about: float = Field(ge=0)
    within: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return {"about": value} if is_number else value

    def __str__(self) -> str:
        about = f"{self.about:,.15g}"
        return f"{about} ± {self.within:.0%}" if self.within else about


class Corpus(Strict):
    """A corpus that consists of the data folders of these names."""

    folders: tuple[str, ...] = Field(min_length=1)
    speakers: Quantity | None = None
    utterances: Quantity | None = None
    hours: Quantity | None = None
    languages: Quantity | None = None


class TrialCount(Strict):
    """The length of a trial list."""

    lines: int = Field(ge=1)


class Expected(Strict):
    """Counts of corpora by name and of trial lists by file name, as in conf/NAME/expected.yaml."""

    corpora: dict[str, Corpus] = Field(default_factory=dict)
    trials: dict[str, TrialCount] = Field(default_factory=dict)


def read(folder: Path) -> tuple[pl.DataFrame | None, list[Finding]]:
    """Read the tables of a data folder (or of its parts) and a sample of the audio headers."""
    problems, parts = [], []
    try:
        for part in parts_of(folder):
            problems += check(part, audio=False)
            parts.append(Manifest.read(part).table)
    except TidyVoiceError as error:
        return None, [Finding("FAIL", str(folder), str(error))]
    table = pl.concat(parts)
    durations = table["seconds"]
    counts = (
        f"{table.height:,} utterances, {table['speaker'].n_unique():,} speakers, "
        f"{table['language'].drop_nulls().n_unique()} languages"
    )
    findings = [Finding("OK", str(folder), counts)]
    if durations.null_count():
        message = "the durations are not known before the files are decoded"
        fix = "Leave 115 MB on the disk for each hour of shards"
        findings.append(Finding("WARN", str(folder), message, fix))
    else:
        message = (
            f"{durations.sum() / 3600:,.2f} h, of {durations.min():.3g} to {durations.max():.3g} s"
        )
        findings.append(Finding("OK", str(folder), message))
    return table, findings + _problems(folder, table, problems)


def _problems(folder: Path, table: pl.DataFrame, of_tables: Sequence[str]) -> list[Finding]:
    """Report the problems of the tables and of a sample of the audio headers."""
    places = np.linspace(0, table.height - 1, min(table.height, SAMPLED_HEADERS)).astype(int)
    sample = table[places.tolist()]
    seconds, lines = measure(sample["path"].to_list(), minimum=1 / SAMPLE_RATE)
    unfit = [line for line in lines if line]
    findings = []
    if not unfit:
        sample = sample.with_columns(header=seconds).filter(pl.col("header").is_not_nan())
        differ = ((pl.col("header") - pl.col("seconds")) * SAMPLE_RATE).round() != 0
        columns = sample.filter(differ).select("path", "header", "seconds")
        unfit = [f"{path} lasts {a:.3f} s, utt2dur says {b:.3f} s" for path, a, b in columns.rows()]
        stereo = [path for path in sample["path"] if soundfile.info(path).channels > 1]
        if stereo:
            message = f"files have several channels, such as {stereo[0]}"
            fix = "Only the first is used: make the files mono if you need another one"
            findings.append(Finding("WARN", str(folder), message, fix))
    findings.append(Finding("OK", str(folder), f"headers of {len(places):,} files were read"))
    problems = [*of_tables, *unfit]
    findings += [Finding("FAIL", str(folder), line, RESTORE) for line in problems[:SHOWN_PROBLEMS]]
    if (more := len(problems) - SHOWN_PROBLEMS) > 0:
        findings.append(Finding("FAIL", str(folder), f"{more:,} more such problems"))
    return findings


def overlaps(tables: Mapping[Path, pl.DataFrame]) -> Iterator[Finding]:
    """Report speakers that two data folders share: training and evaluation must not."""
    speakers = {folder: set(table["speaker"].unique()) for folder, table in tables.items()}
    for first, second in combinations(speakers, 2):
        shared = sorted(speakers[first] & speakers[second])
        if shared and not first.samefile(second):
            message = f"they share {len(shared):,} speakers, such as {', '.join(shared[:3])}"
            fix = "Leave these out of one folder, or prepare one corpus with a --prefix"
            yield Finding("FAIL", f"{first} and {second}", message, fix)


def corpora(
    expected: Mapping[str, Corpus], tables: Mapping[Path, pl.DataFrame]
) -> Iterator[Finding]:
    """Compare the counts of each corpus, summed over its data folders, with the expected ones."""
    by_name = {folder.resolve().name: table for folder, table in tables.items()}
    roots = {folder.resolve().parent for folder in tables}
    for name, corpus in expected.items():
        present = [by_name[folder] for folder in corpus.folders if folder in by_name]
        if not present:
            continue
        # A folder that does not exist, such as the one of held-out speakers, is not missing.
        absent = [name for name in corpus.folders if name not in by_name]
        absent = [name for name in absent if any((root / name).exists() for root in roots)]
        if absent:
            message = f"cannot be counted without {' and '.join(absent)}"
            yield Finding("WARN", name, message, "Give all its folders with --data or --train")
            continue
        table = pl.concat(present)
        measured = {
            "speakers": table["speaker"].n_unique(),
            "utterances": table.height,
            "hours": table["seconds"].sum() / 3600,
            "languages": table["language"].drop_nulls().n_unique(),
        }
        for what, value in measured.items():
            wanted: Quantity | None = getattr(corpus, what)
            if wanted is None:
                continue
            missing = value < wanted.about
            fix = (
                f"Look for files {'that were not unpacked' if missing else 'of another corpus'}; "
                "run.sh skips this check with --counts any"
            )
            shown = f"{value:,.2f}" if what == "hours" else f"{value:,}"
            sound = abs(value - wanted.about) <= wanted.within * wanted.about
            yield judge(sound, name, f"{shown} {what}, expected {wanted}", fix)


def trial_lists(
    lists: Sequence[Path], expected: Mapping[str, TrialCount], tables: Mapping[Path, pl.DataFrame]
) -> Iterator[Finding]:
    """Compare the length of each list, and its utterances with those of the data folders."""
    for path in lists:
        try:
            trials = read_trials(path)
        except TidyVoiceError as error:
            yield Finding("FAIL", str(path), str(error))
            continue
        count = expected.get(path.name)
        message = f"{len(trials):,} trials" + (f", expected {count.lines:,}" if count else "")
        sound = count is None or len(trials) == count.lines
        yield judge(sound, path, message, "Download the list again")
        missing = pl.DataFrame({"listed": trials.ids, "stem": map(stem, trials.ids)})
        for table in tables.values():
            ids = table.select(stem=pl.col("utterance").str.strip_suffix(".wav"))
            missing = missing.join(ids, "stem", how="anti", maintain_order="left")
        if tables and len(missing):
            message = f"{len(missing):,} utterances are in no data folder, such as {missing[0, 0]}"
            yield Finding("FAIL", str(path), message, "Give their data folder with --data")


def shards(folder: Path, table: pl.DataFrame) -> Need:
    """Return the space that the shards of a data folder still need: 16-bit samples in tar files."""
    packed = any(folder.glob("**/shards/shards.json"))
    size = table["seconds"].sum() * SAMPLE_RATE * 2 + table.height * TAR_BYTES
    return Need(folder, f"shards of {folder}", 0 if packed else size)


def embeddings(exp: Path, folder: Path, table: pl.DataFrame) -> Need:
    """Return the space for the embeddings of a data folder: float32 vectors and UTF-32 ids."""
    row = ModelSettings().embed_dim + table["utterance"].str.len_chars().max()
    return Need(exp, f"embeddings of {folder}", 4 * row * table.height)
