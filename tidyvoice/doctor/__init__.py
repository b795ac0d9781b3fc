"""Checks before a training: packages, device, data folders, expected counts, disk space."""

from collections.abc import Sequence
from pathlib import Path

from tidyvoice.doctor import data as checks
from tidyvoice.doctor import machine
from tidyvoice.settings import load_settings


def examine(
    data: Sequence[Path],
    train: Sequence[Path],
    exp: Path | None,
    trials: Sequence[Path],
    expect: Path | None,
) -> dict[str, list[machine.Finding]]:
    """Return the findings by topic; see the options of `tidyvoice doctor`."""
    expected = load_settings(checks.Expected, expect) if expect else checks.Expected()
    of_folders, tables = [], {}
    for folder in dict.fromkeys([*train, *data]):
        table, findings = checks.read(folder)
        of_folders += findings
        if table is not None:
            tables[folder] = table
    needs = [checks.shards(folder, tables[folder]) for folder in train if folder in tables]
    if exp:
        needs += [checks.embeddings(exp, f, tables[f]) for f in data if f in tables]
    corpora = checks.corpora(expected.corpora, tables)
    return {
        "programs": [*machine.packages(), machine.ffmpeg(t["path"] for t in tables.values())],
        "device": list(machine.device()),
        "data": [*of_folders, *checks.overlaps(tables)],
        "counts": [*corpora, *checks.trial_lists(trials, expected.trials)],
        "disk": list(machine.disk(needs)),
    }
