"""Checks of data folders: tables, headers, durations, shards, speakers; and of trial lists."""

import math
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl

from tidyvoice.data.shards import BYTES_PER_SAMPLE, INDEX, UNREADABLE, ShardReader
from tidyvoice.doctor.expected import TrialCount
from tidyvoice.doctor.findings import Finding, judge
from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
from tidyvoice.manifest import SAMPLE_RATE, Manifest, check, has_header, measure, parts_of
from tidyvoice.scoring.trials import read_trials, stem

SHOWN = 10
AGAIN = "prepare the data again (stage 1)"
DOWNLOAD = "give the right file, or download it again"


def look(folder: Path, sample: int | None) -> tuple[list[Finding], dict[Path, Manifest]]:
    """What is found in a data folder or in each of its parts, and the manifests of those.

    Args:
        sample: headers to look at, chosen evenly; all if None.
    """
    try:
        parts = parts_of(folder)
    except TidyVoiceError as error:
        return [Finding("FAIL", str(folder), str(error), mend=AGAIN)], {}
    found, manifests = [], {}
    share = sample and math.ceil(sample / len(parts))
    for part in parts:
        manifest, about_tables = tables(part)
        found += about_tables
        if manifest is not None:
            manifests[part] = manifest
            found += durations(part, manifest)
            found += headers(part, manifest, share)
            found += shards(part, manifest)
    return found, manifests


def tables(folder: Path) -> tuple[Manifest | None, list[Finding]]:
    """The manifest of a data folder, if its tables can be read, and what is wrong with them."""
    try:
        problems = check(folder, audio=False)
        manifest = Manifest.read(folder)
    except TidyVoiceError as error:
        return None, [Finding("FAIL", str(folder), str(error), "sound tables", AGAIN)]
    if problems:
        return manifest, _failures(folder, problems)
    table = manifest.table
    languages = table["language"].drop_nulls().n_unique()
    counts = f"{len(manifest):,} utterances, {table['speaker'].n_unique():,} speakers, " + (
        f"{languages} languages" if languages else "languages not known"
    )
    return manifest, [Finding("OK", str(folder), f"the tables agree: {counts}")]


def durations(folder: Path, manifest: Manifest) -> list[Finding]:
    """Shortest, median, longest and sum, as ``utt2dur`` has them."""
    seconds = manifest.table["seconds"]
    subject = f"{folder}/utt2dur"
    if seconds.null_count():
        if not all(map(has_header, manifest.table["path"])):
            mend = "leave more room on the disk: 32 kB a second of speech"
            told = "missing: only decoding tells the durations, and the size of the shards"
            return [Finding("WARN", subject, told, mend=mend)]
        return [Finding("FAIL", subject, "missing", "a duration for each utterance", AGAIN)]
    measured = (
        f"shortest {seconds.min():.3g} s, median {seconds.median():.3g} s, "
        f"longest {seconds.max():.3g} s, {seconds.sum() / 3600:,.2f} h"
    )
    return [judge(seconds.min() > 0, subject, measured, "above 0 s", AGAIN)]


def headers(folder: Path, manifest: Manifest, sample: int | None) -> list[Finding]:
    """Headers of ``sample`` files, chosen evenly, or of all (None): there, readable, 16 kHz.

    Where all of these are fit, they must also last as long as ``utt2dur`` says. A file without a
    header, which only ffmpeg reads, must be there.
    """
    table = manifest.table
    if sample is not None and sample < table.height:
        table = table[np.linspace(0, table.height - 1, sample).astype(int).tolist()]
    if table.is_empty():
        return []
    seconds, problems = measure(table["path"].to_list(), minimum=1 / SAMPLE_RATE)
    if not problems:
        problems = _other_lengths(table.with_columns(header=pl.Series(seconds)))
    looked = f"{table.height:,} of {len(manifest):,} files looked at"
    if problems:
        return [*_failures(folder, problems), Finding("OK", f"{folder}/wav.scp", looked)]
    return [Finding("OK", f"{folder}/wav.scp", f"{looked}: readable, 16 kHz, no problem")]


def _other_lengths(table: pl.DataFrame) -> list[str]:
    table = table.filter(pl.col("header").is_not_nan())
    away = ((pl.col("header") - pl.col("seconds")) * SAMPLE_RATE).round() != 0
    return [
        f"{path} lasts {header:.3f} s, its utt2dur says {told:.3f}"
        for path, header, told in table.filter(away).select("path", "header", "seconds").iter_rows()
    ]


def _failures(folder: Path, problems: Sequence[str]) -> list[Finding]:
    mend = f"restore what is missing or unfit, or {AGAIN}"
    found = [Finding("FAIL", str(folder), problem, mend=mend) for problem in problems[:SHOWN]]
    if len(problems) > SHOWN:
        found.append(Finding("FAIL", str(folder), f"{len(problems) - SHOWN:,} more such problems"))
    return found


def shards(folder: Path, manifest: Manifest) -> list[Finding]:
    """Whether the shards, where they are there, hold the utterances of the tables, whole."""
    place = folder / "shards"
    mend = f"remove {place} and run stage 2 (shards) again"
    if not place.exists():
        return [Finding("OK", str(place), "not there yet: stage 2 makes them")]
    try:
        reader = ShardReader(folder)
        index = pl.read_parquet(place / INDEX)
    except (TidyVoiceError, pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        return [Finding("FAIL", str(place), f"cannot be read ({reason})", mend=mend)]
    left_out = place / UNREADABLE
    tolerated = len(left_out.read_text().splitlines()) if left_out.exists() else 0
    found = []
    if tolerated:
        measured = f"{tolerated:,} files were unreadable and left out, see {left_out}"
        found.append(Finding("OK", str(place), measured))
    packed = pl.DataFrame({"utterance": reader.keys, "samples": reader.samples})
    both = manifest.table.join(packed, "utterance", how="full", coalesce=True)
    lengths = (pl.col("seconds") * SAMPLE_RATE).round() != pl.col("samples")
    for number, what in (
        (both["samples"].null_count() - tolerated, "utterances of the tables are not in them"),
        (both["path"].null_count(), "utterances in them are not in the tables"),
        (both.filter(lengths).height, "utterances have another length than in utt2dur"),
    ):
        if number:
            found.append(Finding("FAIL", str(place), f"{number:,} {what}", "0", mend))
    end = pl.col("offset") + BYTES_PER_SAMPLE * pl.col("samples")
    for name, last in index.group_by("shard").agg(end.max()).sort("shard").iter_rows():
        path = place / name
        length = path.stat().st_size if path.exists() else 0
        if length < last:
            state = "missing" if not path.exists() else f"cut short, {length:,} bytes"
            found.append(Finding("FAIL", str(path), state, f"{last:,} bytes or more", mend))
    count = index["shard"].n_unique()
    measured = (
        f"the {len(manifest) - tolerated:,} utterances of the tables, in tar files: {count:,}"
    )
    sound = not any(finding.status == "FAIL" for finding in found)
    return [*found, *([Finding("OK", str(place), measured)] if sound else [])]


def disjoint(
    folders: Mapping[Path, Manifest], trainings: Sequence[Collection[Path]]
) -> list[Finding]:
    """That no two folders share a speaker, unless they are read by different trainings only.

    A training that read both would take two people for one. A speaker in the training is
    remembered by the model, one in the calibration by that: scores of the same speaker elsewhere
    are then no evaluation.
    """
    speakers = {path: set(manifest.speakers()) for path, manifest in folders.items()}
    found = []
    for one, other in combinations(speakers, 2):
        shared = sorted(speakers[one] & speakers[other])
        subject = f"speakers of {one} and {other}"
        if not shared:
            found.append(Finding("OK", subject, "disjoint"))
            continue
        names = ", ".join(shared[:3]) + (", ..." if len(shared) > 3 else "")
        measured = f"{len(shared):,} in both ({names})"
        together = any(one in read and other in read for read in trainings)
        if not together and all(any(p in read for read in trainings) for p in (one, other)):
            found.append(Finding("OK", subject, f"{measured}; different trainings read them"))
            continue
        mend = f"{AGAIN} from corpora without common speakers, or one of them with a --prefix"
        found.append(Finding("FAIL", subject, measured, "none", mend))
    return found


def trials(
    paths: Sequence[Path], wanted: Mapping[str, TrialCount], folders: Mapping[Path, Manifest]
) -> list[Finding]:
    """Each trial list: readable, as long as expected, its utterances in the data folders."""
    if not paths:
        return []
    found = []
    for path in paths:
        try:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always", TidyVoiceWarning)
                listed = read_trials(path)
        except TidyVoiceError as error:
            found.append(Finding("FAIL", str(path), str(error), "a trial list", DOWNLOAD))
            continue
        mend = "keep one of them unless each shall count"
        found += [Finding("WARN", str(path), str(one.message), mend=mend) for one in said]
        labels = "" if listed.label is not None else ", without labels"
        count = wanted.get(path.name)
        found.append(
            judge(
                count is None or len(listed) == count.lines,
                str(path),
                f"{len(listed):,} trials{labels}",
                f"{count.lines:,}" if count else "",
                DOWNLOAD,
            )
        )
        if folders:
            lacking = _lacking(listed.ids, folders.values())
            example = f", such as {lacking[0]}" if lacking else ""
            measured = f"{len(lacking):,} of {len(listed.ids):,} utterances in no data folder"
            mend = "give the folder of its utterances with --data, or prepare the data again"
            found.append(judge(not lacking, str(path), measured + example, "0", mend))
    return found


def _lacking(utterances: Sequence[str], manifests: Iterable[Manifest]) -> list[str]:
    """Those that no manifest has, in their order."""
    table = pl.DataFrame({"listed": utterances, "stem": map(stem, utterances)})
    for manifest in manifests:
        known = manifest.table.select(stem=pl.col("utterance").str.strip_suffix(".wav"))
        table = table.join(known, "stem", how="anti", maintain_order="left")
    return table["listed"].to_list()
