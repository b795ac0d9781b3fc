"""Checks before hours are spent: what is there, measured against what is needed.

Every check is a small function that returns findings and changes nothing.
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from tidyvoice.config import Experiment, load_experiment
from tidyvoice.doctor import compute, disk, folders, program
from tidyvoice.doctor.expected import Expected, compare, load_expected
from tidyvoice.doctor.findings import MEANINGS, Finding, count
from tidyvoice.errors import TidyVoiceError
from tidyvoice.manifest import Manifest

__all__ = ["MEANINGS", "Expected", "Finding", "count", "examine", "load_expected"]


def examine(
    data: Sequence[Path] = (),
    configs: Sequence[Path] = (),
    overrides: Sequence[str] = (),
    exp: Path | None = None,
    trials: Sequence[Path] = (),
    expected: Expected | None = None,
    sample: int | None = 200,
) -> dict[str, list[Finding]]:
    """Findings by what they are about.

    Args:
        data: data folders; those that the configs name are looked at too, where they are there.
        configs: YAML files of trainings.
        overrides: ``key=value`` for each of them.
        exp: folder to be written; that of each config if None.
        trials: trial lists.
        expected: counts to compare with.
        sample: headers to look at in each data folder, chosen evenly; all of them if None.
    """
    expected = expected or Expected()
    experiments, settings = _load(configs, overrides)
    read = [path for chosen in experiments.values() for path in disk.training_folders(chosen)]
    given = [_spelling(path) for path in data]
    wholes: dict[Path, Manifest] = {}
    parts: dict[Path, Manifest] = {}
    looked: list[Finding] = []
    for folder in dict.fromkeys([*given, *read]):
        if folder not in given and not _is_prepared(folder):
            looked.append(Finding("WARN", str(folder), "not there yet", mend="run stage 1"))
            continue
        found, manifests = folders.look(folder, sample)
        looked += found
        parts |= manifests
        if manifests:
            wholes[folder] = Manifest(pl.concat([part.table for part in manifests.values()]))
    stores = {p for chosen in experiments.values() for p in (chosen.data.noise, chosen.data.rirs)}
    speech = {path: manifest for path, manifest in wholes.items() if path not in stores}
    trainings = [chosen.data.train for chosen in experiments.values()]
    outputs = [_spelling(exp)] if exp else [chosen.experiment for chosen in experiments.values()]
    wanted = disk.needs(experiments.values(), wholes, parts, given, exp and _spelling(exp))
    written = [*outputs, *disk.packed(experiments.values(), parts)]
    return {
        "program": [*program.versions(), *program.ffmpeg(wholes), *program.cores()],
        "settings": settings,
        "device": [
            *compute.device(),
            *compute.initial_models(experiments),
            *compute.trainings(experiments, wholes),
        ],
        "disk": [*disk.room(wanted, outputs), *disk.writable(written)],
        "data": [*looked, *folders.disjoint(speech, trainings)],
        "expected": [
            *compare(expected.corpora, wholes),
            *folders.trials(trials, expected.trials, speech),
        ],
        "credentials": program.credentials(expected.credentials),
    }


def _load(
    configs: Sequence[Path], overrides: Sequence[str]
) -> tuple[dict[str, Experiment], list[Finding]]:
    experiments, found = {}, []
    for path in configs:
        try:
            experiments[str(path)] = _respelt(load_experiment(path, overrides))
            found.append(Finding("OK", str(path), "every key is known"))
        except TidyVoiceError as error:
            found.append(Finding("FAIL", str(path), str(error), mend="correct the file or --set"))
    return experiments, found


def _respelt(settings: Experiment) -> Experiment:
    """The same with each folder spelt in the one way by which it is looked up."""
    data = settings.data
    paths = {
        "train": tuple(map(_spelling, data.train)),
        "noise": data.noise and _spelling(data.noise),
        "rirs": data.rirs and _spelling(data.rirs),
    }
    return settings.model_copy(
        update={
            "experiment": _spelling(settings.experiment),
            "data": data.model_copy(update=paths),
        }
    )


def _is_prepared(folder: Path) -> bool:
    return (folder / "wav.scp").exists() or any(folder.glob("part-*-of-*"))


def _spelling(path: Path) -> Path:
    """Relative to the current folder where it is below it, else absolute."""
    here, path = Path.cwd(), path.resolve()
    return path.relative_to(here) if path.is_relative_to(here) else path
