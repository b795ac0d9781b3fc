"""Records of how scores were made, and the wording of these records for people."""

from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field, model_validator

from tidyvoice.settings import Strict

Kind = Literal["in-sample", "selected", "confounded", "unchecked"]
UNKNOWN_ORIGIN = "origin unknown"
CALIBRATED = ("calibration", "fusion")
# What must be the same for the scores of two lists to mean the same: roles of files and settings.
COMPARED = {
    "cosine": ("mean", "model"),
    "snorm": ("cohort",),
    "asnorm": ("cohort", "top_n"),
    "backend": ("backend", "model"),
    "quality measures": ("backend", "languages", "model"),
}


class Source(Strict):
    """A file in its role, with the number of its speakers; None stands for unknown.

    The role "training" is that of the model that made the embeddings in ``path``.
    """

    role: str
    path: str
    sha256: str | None = None
    speakers: int | None = None


class _Describable(Strict):
    """Record that ``describe`` can put into words, whatever file it came from."""

    @model_validator(mode="after")
    def _has_words(self) -> "_Describable":
        try:
            describe(self)
        except Exception as error:  # a missing value or one of another type
            raise ValueError(f"not a record of this version ({error!r})") from None
        return self


class Remark(_Describable):
    """Caveat about a result; ``reason`` is a key of ``_REASONS``, which ``details`` fill in."""

    kind: Kind
    reason: str
    one: Source
    other: Source | None = None
    details: dict[str, Any] = Field(default_factory=dict)


class Step(_Describable):
    """One step of processing: "cosine", a normalisation, "calibration" or "fusion" (of systems).

    ``UNKNOWN_ORIGIN`` stands for steps that are not known, and comes first.
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


# Kinds of remarks on results that are too optimistic.
FLAWS = {
    "in-sample": {
        "title": "In sample",
        "meaning": "The model, the back end, the cohort or the calibration has seen speakers of "
        "this list. The results are too optimistic.",
    },
    "selected": {
        "title": "Selected",
        "meaning": "The back end was chosen among several by trials of speakers of this list. The "
        "results are somewhat too optimistic.",
    },
    "confounded": {
        "title": "Confounded",
        "meaning": "Quality measures of the calibration alone separate targets from non-targets. "
        "The results do not hold for other lists.",
    },
}
_PHRASES = {
    "trials": "the trials of {}",
    "calibration trials": "the calibration trials of {}",
    "training": "the training of the model of {}",
    "mean": "the mean of {}",
    "backend": "the back end {}",
    "choice": "the choice of the back end {}",
    "cohort": "the cohort {}",
    "calibration": "the calibration {}",
}
_SHARING = "whether {one} and {other} share speakers: "
_REASONS = {
    "shared": "{one} and {other} share {count:,} {unit}",
    "separating": "quality measures alone separate targets from non-targets in {one}: area under "
    "the ROC curve {areas} (uninformative: 0.50)",
    "unknown speakers": _SHARING + "those of {side} are not known",
    "unknown others": _SHARING + "some of those of {side} are not known",
    "renamed speakers": _SHARING + "the ids of {side} name other ones",
    "unknown origin": "how the scores of {one} were made: their origin is not known",
    "unknown languages": "whether the languages alone separate {one}: they are not known",
    "unknown labels": "whether a quality measure alone separates {one}: they have no labels",
    "unknown steps": "{one} against {other}: how at least one of them was made is not known",
    "unknown setting": "{one} against {other}: whether they share the {setting} of {step} is not "
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
    if step.step == "backend":
        return str(step.settings["title"])
    return _TITLES.get(step.step, step.step)


def describe(record: Step | Remark | Source, show: Callable[[str], str] = str) -> str:
    """Put a record into words; ``show`` writes a path, for example without its folders."""
    if isinstance(record, Source):
        return show(record.path) + (f" (sha256 {record.sha256})" if record.sha256 else "")
    return _remark(record, show) if isinstance(record, Remark) else _step(record, show)


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


def _step(step: Step, show: Callable[[str], str]) -> str:
    paths: dict[str, list[str]] = {}
    for source in step.inputs:
        paths.setdefault(source.role, []).append(show(source.path))
    if step.step in CALIBRATED:
        return _calibration(step, paths, show)
    values = step.settings
    if step.step == UNKNOWN_ORIGIN:
        return f"origin unknown: nothing beside {paths['scores'][0]} says how they were made"
    if step.step == "cosine":
        if "mean" not in paths:
            return "cosine of the embeddings, not centred"
        count = f"{values['averaged']:,} in " if "averaged" in values else ""
        return f"cosine of the embeddings, less the mean of {count}{paths['mean'][0]}"
    text = title(step)
    if step.step == "backend":
        return f"{text}: the back end {paths['backend'][0]}"
    for source in step.inputs:
        if source.role == "cohort":
            text += f", {source.speakers:,} speakers of {show(source.path)}"
    if "top_n" in values:
        text += f", top {values['top_n']}"
    return text


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
