"""How a model was trained, for its card."""

from typing import Any

import yaml

from tidyvoice.model_files import OTHERS
from tidyvoice.publish.facts import Facts, Terms
from tidyvoice.publish.markdown import bullets, table
from tidyvoice.publish.privacy import shown
from tidyvoice.publish.training import Training, describe_source

VERSIONS = ("python", "tidyvoice", "torch", "torchaudio")


def training_section(facts: Facts, terms: Terms) -> str:
    """Data, settings, and what the trainings ran with, the first one first."""
    parts = ["## Training"]
    if not facts.trainings:
        parts.append(_without(facts))
    for number, training in enumerate(facts.trainings, 1):
        parts += [f"### {number}. `{training.name}`", _data(training), _settings(training)]
    return "\n\n".join([*parts, _speakers(facts, terms)])


def _without(facts: Facts) -> str:
    if facts.source is None:
        return "How the model was trained is not known here."
    return (
        f"The weights are {describe_source(facts.source)}, unchanged. How they were trained "
        "is not known here."
    )


def _data(training: Training) -> str:
    names = ", ".join(f"`{name}`" for name in training.data) or "data that is not named"
    counts = training.counts
    if counts is None:
        return (
            f"Trained on {names}, begun with {training.begins}. What was in the data is not known."
        )
    row = [f"{counts.speakers:,}", f"{counts.utterances:,}", f"{counts.hours:,.1f}"]
    spoken = ", ".join(counts.languages) if counts.languages else "not known"
    return f"Trained on {names}, begun with {training.begins}. Languages: {spoken}.\n\n" + table(
        ["data", "speakers", "utterances", "hours"], [[", ".join(training.data), *row]]
    )


def _settings(training: Training) -> str:
    experiment = training.experiment
    lines = []
    if experiment.steps:
        lines.append(
            f"{experiment.steps:,} steps of {training.setting('data.batch_size')} chunks "
            f"on each process"
        )
    for run in experiment.record[-1:]:
        gpus = ", ".join(sorted(set(run.machine.gpus))) or "CPU"
        processes = "1 process" if run.world_size == 1 else f"{run.world_size} processes"
        lines.append(f"{processes} on {gpus}; seed {run.seed}")
        known = [f"{name} {run.versions[name]}" for name in VERSIONS if name in run.versions]
        lines.append(", ".join(known))
    if experiment.commits:
        lines.append(f"source at commit {', '.join(experiment.commits)}")
    text = yaml.safe_dump(_nested(training), sort_keys=False, allow_unicode=True)
    fold = f"<details><summary>All settings</summary>\n\n```yaml\n{text}```\n\n</details>"
    return "\n\n".join(filter(None, [bullets(lines), fold]))


def _nested(training: Training) -> dict[str, Any]:
    """The settings in their groups; of paths only what may be shown."""
    nested: dict[str, Any] = {}
    for key, value in training.experiment.settings.items():
        *groups, last = key.split(".")
        inner = nested
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[last] = _public(value)
    return nested


def _public(value: Any) -> Any:
    if isinstance(value, str) and "/" in value:
        return shown(value)
    return [_public(one) for one in value] if isinstance(value, list) else value


def _speakers(facts: Facts, terms: Terms) -> str:
    known = facts.encoder.trained_on
    if known is None:
        return "On which speakers the model was trained is not known."
    named = len(set(known) - {OTHERS})
    more = " and others that are not known by name" if OTHERS in known else ""
    where = "named in `speakers.txt`" if terms.with_speakers else "whose names are not published"
    if not named:
        return "On which speakers the model was trained is not known."
    return (
        f"The model knows {named:,} speakers{more}, {where}. Evaluate it on none of them: results "
        "would flatter."
    )
