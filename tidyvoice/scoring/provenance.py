"""Records of how scores were made, and the wording of these records.

Score files keep the records as JSON beside them. ``describe`` puts them into words where a person
reads them: on the terminal, in the report, in a model card.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from pydantic import Field

from tidyvoice.settings import Strict

Kind = Literal["in-sample", "confounded", "unchecked"]
UNKNOWN_ORIGIN = "origin unknown"
CALIBRATED = ("calibration", "fusion")
# What must be the same for the scores of two lists to mean the same: roles of files and settings.
COMPARED = {
    "cosine": ("mean", "model"),
    "snorm": ("cohort",),
    "asnorm": ("cohort", "top_n"),
    "language": ("cohort", "languages", "top_n"),
    "quality measures": ("cohort", "languages", "mean", "model", "top_n"),
}


class Source(Strict):
    """A file in its role.

    Attributes:
        role: "embeddings", "mean", "cohort", "trials", "calibration", ...; "training" stands for
            the training of the model that made the embeddings in ``path``.
        sha256: None for trial lists and score files, which take as long to hash as to score.
        speakers: number of its speakers; None if they are not known.
    """

    role: str
    path: str
    sha256: str | None = None
    speakers: int | None = None


class Remark(Strict):
    """Caveat about a result.

    Attributes:
        kind: "in-sample" and "confounded" results are too optimistic; an "unchecked" comparison
            was impossible.
        reason: a key of ``_REASONS``.
        one, other: what was compared.
        details: further values of the wording.
    """

    kind: Kind
    reason: str
    one: Source
    other: Source | None = None
    details: dict[str, Any] = Field(default_factory=dict)


class Step(Strict):
    """One step of processing.

    Attributes:
        step: "cosine", "snorm", "asnorm", "language", "calibration" or "fusion";
            ``UNKNOWN_ORIGIN`` stands for steps that are not known, and comes first.
        inputs: the files that it took.
        settings: its settings, and the numbers that describe it.
        remarks: what it found when it compared speakers and measures.
        systems: of a fusion, the steps of each system.
    """

    step: str
    inputs: tuple[Source, ...] = ()
    settings: dict[str, Any] = Field(default_factory=dict)
    remarks: tuple[Remark, ...] = ()
    systems: tuple[tuple["Step", ...], ...] = ()

    def compared(self) -> dict[str, str | None]:
        """Return the values of ``COMPARED``: "none" for what was not used, None for unknown."""
        values = {**self.settings, **{source.role: source.sha256 for source in self.inputs}}
        return {key: values.get(key, "none") for key in COMPARED.get(self.step, ())}


class Flaw(NamedTuple):
    """Title and meaning of the remarks of a kind."""

    title: str
    meaning: str


# Kinds of remarks on results that are too optimistic.
FLAWS = {
    "in-sample": Flaw(
        "In sample",
        "The model, the mean, the cohort or the calibration has seen speakers of this list. The "
        "results are too optimistic.",
    ),
    "confounded": Flaw(
        "Confounded",
        "Quality measures of the calibration alone separate targets from non-targets. The results "
        "do not hold for other lists.",
    ),
}
_PHRASES = {
    "trials": "the trials of {}",
    "calibration trials": "the calibration trials of {}",
    "training": "the training of the model of {}",
    "mean": "the mean of {}",
    "cohort": "the cohort {}",
    "calibration": "the calibration {}",
}
_REASONS = {
    "shared": "{one} and {other} share {count:,} {unit}",
    "separating": "quality measures alone separate targets from non-targets in {one}: area under "
    "the ROC curve {areas} (uninformative: 0.50)",
    "unknown speakers": "{one} against {other}: the speakers of {side} are not known",
    "unknown others": "{one} against {other}: some speakers of {side} are not known",
    "renamed speakers": "{one} against {other}: the given speakers of {side} differ from those in "
    "its ids",
    "unknown origin": "{one} against what made their scores: their origin is unknown",
    "unknown labels": "{one} against the quality measures: without labels of both kinds, whether "
    "one alone separates them is not known",
    "unknown steps": "{one} against {other}: how both were made is not known",
    "unknown setting": "{one} against {other}: whether the {setting} of {step} is the same is not "
    "known",
}
_TITLES = {
    UNKNOWN_ORIGIN: "system not known",
    "snorm": "S-norm",
    "asnorm": "AS-norm",
    "calibration": "calibrated",
    "fusion": "fused and calibrated",
}


def title(step: Step) -> str:
    """Name a step in a few words, such as "AS-norm"."""
    if step.step == "cosine":
        return "plain cosine" if step.compared()["mean"] == "none" else "centred cosine"
    if step.step == "language":
        blind = step.settings.get("languages") == "guessed"
        return "blind language-aware norm" if blind else "language-aware norm"
    return _TITLES.get(step.step, step.step)


def describe(record: Step | Remark | Source, show: Callable[[str], str] = str) -> str:
    """Put a record into words.

    Args:
        show: writes a path, for example without its folders.
    """
    if isinstance(record, Source):
        checksum = f" (sha256 {record.sha256})" if record.sha256 else ""
        return f"{show(record.path)}{checksum}"
    if isinstance(record, Remark):
        return _remark(record, show)
    paths: dict[str, list[str]] = {}
    for source in record.inputs:
        paths.setdefault(source.role, []).append(show(source.path))
    if record.step == UNKNOWN_ORIGIN:
        return f"origin unknown: nothing beside {paths['scores'][0]} says how they were made"
    if record.step == "cosine":
        if "mean" not in paths:
            return "cosine of the embeddings, not centred"
        count = f"{record.settings['averaged']:,} in " if "averaged" in record.settings else ""
        return f"cosine of the embeddings, less the mean of {count}{paths['mean'][0]}"
    if record.step in CALIBRATED:
        return _calibration(record, paths, show)
    return _normalization(record, paths)


def _remark(remark: Remark, show: Callable[[str], str]) -> str:
    values = dict(remark.details)
    for name in ("one", "other"):
        if source := getattr(remark, name):
            values[name] = _PHRASES.get(source.role, "{}").format(show(source.path))
    if "side" in values:
        values["side"] = values[values["side"]]
    if "areas" in values:
        values["areas"] = ", ".join(f"{k} {area:.2f}" for k, area in values["areas"].items())
    return _REASONS[remark.reason].format(**values)


def _normalization(step: Step, paths: dict[str, list[str]]) -> str:
    cohort = next((source for source in step.inputs if source.role == "cohort"), None)
    members = f", {cohort.speakers:,} speakers of {paths['cohort'][0]}" if cohort else ""
    text = {"language": "language-aware S-norm"}.get(step.step, title(step)) + members
    if "top_n" in step.settings:
        text += f", top {step.settings['top_n']}"
    if "languages" in step.settings:
        text += f" in proportion, languages {step.settings['languages']}"
    absent = step.settings.get("absent")
    return f"{text}, not in the cohort: {', '.join(absent)}" if absent else text


def _calibration(step: Step, paths: dict[str, list[str]], show: Callable[[str], str]) -> str:
    values, text = step.settings, step.step
    if step.systems:
        text += f" of {', '.join(paths['scores'])}"
    if "folds" in values:
        text += f" by cross-fitting over {values['folds']} folds of {values['speakers']:,} speakers"
    elif "calibration" in paths:
        text += f" by {paths['calibration'][0]}"
    elif "fit" in paths:
        text += f" fitted to {values['trials']:,} trials of {', '.join(paths['fit'])}"
    if "features" in values:
        text += f" on {', '.join(values['features'])}; prior {values['prior']:g}"
    for number, steps in enumerate(step.systems, 1):
        text += f"; system {number}: {', then '.join(describe(part, show) for part in steps)}"
    return text
