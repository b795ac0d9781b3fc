"""Checks before a training: packages, device, data folders, expected counts, disk space."""

from collections.abc import Sequence
from pathlib import Path

from tidyvoice.doctor import data as data_checks
from tidyvoice.doctor.machine import Finding, device, disk, ffmpeg, packages
from tidyvoice.settings import load_settings


def examine(
    data: Sequence[Path],
    train: Sequence[Path],
    exp: Path | None,
    trials: Sequence[Path],
    expect: Path | None,
) -> dict[str, list[Finding]]:
    """Return the findings by topic; see the options of `tidyvoice doctor`."""
    expected = load_settings(data_checks.Expected, expect) if expect else data_checks.Expected()
    findings, tables = [], {}
    for folder in dict.fromkeys([*train, *data]):
        table, of_folder = data_checks.read(folder)
        findings += of_folder
        if table is not None:
            tables[folder] = table
    needs = [data_checks.shards(folder, tables[folder]) for folder in train if folder in tables]
    if exp:
        needs += [data_checks.embeddings(exp, f, tables[f]) for f in data if f in tables]
    return {
        "programs": [*packages(), ffmpeg(table["path"] for table in tables.values())],
        "device": list(device()),
        "data": [*findings, *data_checks.overlaps(tables)],
        "counts": [
            *data_checks.corpora(expected.corpora, tables),
            *data_checks.trial_lists(trials, expected.trials),
        ],
        "disk": list(disk(needs)),
    }
