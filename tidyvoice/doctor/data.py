"""Checks of data folders and trial lists, also against the counts that a corpus should have."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
from pydantic import Field

from tidyvoice.audio import measure
from tidyvoice.config import ModelSettings
from tidyvoice.data.manifest import Manifest, check, parts_of
from tidyvoice.doctor.machine import Finding, Need, judge
from tidyvoice.errors import TidyVoiceError
from tidyvoice.headers import SAMPLE_RATE
from tidyvoice.scoring.trials import read_trials
from tidyvoice.settings import Strict

SAMPLED_HEADERS = 200
SHOWN_PROBLEMS = 10
TAR_BYTES = 2048  # headers and padding of an utterance in a shard
Count = float | tuple[float, float]


class Corpus(Strict):
    """A corpus that consists of the data folders of these names; counts are exact or ranges."""

    folders: tuple[str, ...] = Field(min_length=1)
    speakers: Count | None = None
    utterances: Count | None = None
    hours: Count | None = None
    languages: Count | None = None


class Expected(Strict):
    """Counts of corpora, and lengths of trial lists by file name: conf/NAME/expected.yaml."""

    corpora: dict[str, Corpus] = Field(default_factory=dict)
    trials: dict[str, int] = Field(default_factory=dict)


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
    speakers, languages = table["speaker"].n_unique(), table["language"].drop_nulls().n_unique()
    counts = f"{table.height:,} utterances, {speakers:,} speakers, {languages} languages"
    findings = [Finding("OK", str(folder), counts)]
    if durations.null_count():
        message = "the durations are not known before the files are decoded"
        fix = "Leave 115 MB on the disk for each hour of shards"
        findings.append(Finding("WARN", str(folder), message, fix))
    else:
        hours, shortest, longest = durations.sum() / 3600, durations.min(), durations.max()
        message = f"{hours:,.2f} h, of {shortest:.3g} to {longest:.3g} s"
        findings.append(Finding("OK", str(folder), message))
    places = np.linspace(0, table.height - 1, min(table.height, SAMPLED_HEADERS)).astype(int)
    unfit = measure(table["path"].gather(places), minimum=1 / SAMPLE_RATE)[1]
    findings.append(Finding("OK", str(folder), f"headers of {len(places):,} files were read"))
    problems += filter(None, unfit)
    fix = "Restore the file, or run stage 1 again"
    findings += [Finding("FAIL", str(folder), line, fix) for line in problems[:SHOWN_PROBLEMS]]
    if (more := len(problems) - SHOWN_PROBLEMS) > 0:
        findings.append(Finding("FAIL", str(folder), f"{more:,} more such problems"))
    return table, findings


def overlaps(tables: Mapping[Path, pl.DataFrame]) -> Iterator[Finding]:
    """Report speakers that two data folders share: training and evaluation must not."""
    speakers = {folder: set(table["speaker"].unique()) for folder, table in tables.items()}
    for one, other in combinations(speakers, 2):
        if (shared := speakers[one] & speakers[other]) and not one.samefile(other):
            message = f"they share {len(shared):,} speakers, such as {min(shared)}"
            fix = "Leave these out of one folder, or prepare one corpus with a --prefix"
            yield Finding("FAIL", f"{one} and {other}", message, fix)


def corpora(
    expected: Mapping[str, Corpus], tables: Mapping[Path, pl.DataFrame]
) -> Iterator[Finding]:
    """Compare the counts of each corpus, summed over its data folders, with the expected ones."""
    by_name = {folder.resolve().name: table for folder, table in tables.items()}
    for name, corpus in expected.items():
        present = [by_name[folder] for folder in corpus.folders if folder in by_name]
        if not present:
            continue
        table = pl.concat(present)
        measured = {
            "speakers": table["speaker"].n_unique(),
            "utterances": table.height,
            "hours": table["seconds"].sum() / 3600,
            "languages": table["language"].drop_nulls().n_unique(),
        }
        for what, value in measured.items():
            if (wanted := getattr(corpus, what)) is None:
                continue
            least, most = wanted if isinstance(wanted, tuple) else (wanted, wanted)
            counted = f"{value:,.2f}" if what == "hours" else f"{value:,}"
            limits = f"{least:,.15g}" + (f" to {most:,.15g}" if most > least else "")
            message = f"{counted} {what}, expected {limits}"
            fix = (
                f"Give {' and '.join(corpus.folders)} with --data or --train, or prepare them again"
            )
            fix += "; run.sh skips this check with --counts any"
            yield judge(least <= value <= most, name, message, fix)


def trial_lists(lists: Sequence[Path], expected: Mapping[str, int]) -> Iterator[Finding]:
    """Read each list and compare its length."""
    for path in lists:
        try:
            count = len(read_trials(path))
        except TidyVoiceError as error:
            yield Finding("FAIL", str(path), str(error))
            continue
        wanted = expected.get(path.name)
        message = f"{count:,} trials" + (f", expected {wanted:,}" if wanted else "")
        yield judge(wanted in (None, count), path, message, "Download the list again")


def shards(folder: Path, table: pl.DataFrame) -> Need:
    """Return the space that the shards of a data folder still need: 16-bit samples in tar files."""
    packed = any(folder.glob("**/shards/shards.json"))
    size = table["seconds"].sum() * SAMPLE_RATE * 2 + table.height * TAR_BYTES
    return Need(folder, f"shards of {folder}", 0 if packed else size)


def embeddings(exp: Path, folder: Path, table: pl.DataFrame) -> Need:
    """Return the space for the embeddings of a data folder: float32 vectors and UTF-32 ids."""
    row = ModelSettings().embed_dim + table["utterance"].str.len_chars().max()
    return Need(exp, f"embeddings of {folder}", 4 * row * table.height)
