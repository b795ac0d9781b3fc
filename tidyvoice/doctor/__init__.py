"""Checks before a training: programs, device, data folders, expected counts, schedule, disk.

The checks change nothing. Each finding is OK, WARN or FAIL. It names the file, device or setting,
describes the problem, and says how to fix it.
"""

from collections.abc import Sequence
from pathlib import Path

from tidyvoice.config import load_experiment
from tidyvoice.doctor import data as data_checks
from tidyvoice.doctor import training
from tidyvoice.doctor.machine import Finding, device, disk, ffmpeg, packages
from tidyvoice.settings import load_settings


def examine(
    data: Sequence[Path],
    config: Path | None,
    overrides: Sequence[str],
    exp: Path | None,
    trials: Sequence[Path],
    expect: Path | None,
) -> dict[str, list[Finding]]:
    """Return the findings by topic.

    Args:
        data: data folders, beside those that the training reads.
        config: YAML file of a training, and ``key=value`` that override it.
        exp: folder that the embeddings of ``data`` are written to; the training's if None.
        trials: trial lists.
        expect: YAML file of ``data.Expected``.

    Raises:
        TidyVoiceError: ``config`` or ``expect`` has a mistake.
    """
    expected = load_settings(data_checks.Expected, expect) if expect else data_checks.Expected()
    settings = load_experiment(config, overrides) if config else None
    speech, stores = list(data), []
    if settings:
        exp = exp or settings.experiment
        speech += settings.data.train
        speech += [settings.validation.data] if settings.validation else []
        stores += filter(None, (settings.data.noise, settings.data.rirs))
    of_data, tables = [], {}
    for folder in dict.fromkeys([*speech, *stores]):
        table, findings = data_checks.read(folder)
        of_data += findings
        if table is not None:
            tables[folder] = table
    of_speech = {folder: tables[folder] for folder in speech if folder in tables}
    needs = list(training.needs(settings, tables)) if settings else []
    if exp:
        needs += [data_checks.need_of_embeddings(exp, f, tables[f]) for f in data if f in tables]
    return {
        "programs": [*packages(), ffmpeg(table["path"] for table in tables.values())],
        "device": list(device()),
        "data": [*of_data, *data_checks.overlaps(of_speech)],
        "counts": [
            *data_checks.corpora(expected.corpora, of_speech),
            *data_checks.trial_lists(trials, expected.trials, of_speech),
        ],
        "training": list(training.check(str(config), settings, tables)) if settings else [],
        "disk": list(disk(needs)),
    }
