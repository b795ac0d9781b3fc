"""Expected counts of corpora and trial lists, from a YAML file: the package itself knows none.

corpora:
  NAME:
    folders: [finetune, calib]     names of the data folders that together are the corpus
    speakers: 3666                 exactly so many; likewise utterances, hours, languages
    hours: {about: 370, within: 0.01}      or within 1 % of it
trials:
  FILE NAME: {lines: 12000000}
credentials:
  VARIABLE: {purpose: downloading NAME, optional: true}
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field, model_validator

from tidyvoice.doctor.findings import Finding, judge
from tidyvoice.manifest import Manifest
from tidyvoice.settings import Strict, load_settings


class Quantity(Strict):
    """A number, and how far a measured one may be off, as a fraction of it."""

    about: float = Field(ge=0)
    within: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return {"about": value}
        return value

    def holds(self, measured: float) -> bool:
        return abs(measured - self.about) <= self.within * self.about

    def __str__(self) -> str:
        about = f"{self.about:,.15g}"
        return f"{about} ± {self.within:.0%}" if self.within else about


class Corpus(Strict):
    """A corpus, all of which lies in data folders of these names."""

    folders: tuple[str, ...] = Field(min_length=1)
    speakers: Quantity | None = None
    utterances: Quantity | None = None
    hours: Quantity | None = None
    languages: Quantity | None = None


class TrialCount(Strict):
    lines: int = Field(ge=1)


class Credential(Strict):
    """An environment variable that something needs."""

    purpose: str
    optional: bool = False


class Expected(Strict):
    """What should be there. Sources of the numbers stand in the file's comments."""

    corpora: dict[str, Corpus] = Field(default_factory=dict)
    trials: dict[str, TrialCount] = Field(default_factory=dict)
    credentials: dict[str, Credential] = Field(default_factory=dict)


def load_expected(path: str | Path | None) -> Expected:
    """The expected counts of a YAML file; none without a file.

    Raises:
        TidyVoiceError: see ``tidyvoice.settings.load_settings``.
    """
    return load_settings(Expected, path) if path else Expected()


def compare(corpora: Mapping[str, Corpus], folders: Mapping[Path, Manifest]) -> list[Finding]:
    """Counts of each corpus of which a folder is there, over all its folders."""
    found = []
    for name, corpus in corpora.items():
        here = {path.resolve().name: m for path, m in folders.items()}
        absent = [folder for folder in corpus.folders if folder not in here]
        if len(absent) == len(corpus.folders):
            continue
        if absent:
            mend = f"give it with --data: {name} is {' and '.join(corpus.folders)} together"
            found.append(Finding("WARN", name, f"{', '.join(absent)} not looked at", mend=mend))
            continue
        table = pl.concat([here[folder].table for folder in corpus.folders])
        found += _compare(name, corpus, table)
    return found


def _compare(name: str, corpus: Corpus, table: pl.DataFrame) -> list[Finding]:
    measured = {
        "speakers": table["speaker"].n_unique(),
        "utterances": table.height,
        "hours": table["seconds"].sum() / 3600,
        "languages": table["language"].drop_nulls().n_unique(),
    }
    found = []
    for what, value in measured.items():
        wanted: Quantity | None = getattr(corpus, what)
        if wanted is None:
            continue
        shown = f"{value:,.1f} {what}" if what == "hours" else f"{value:,} {what}"
        mend = (
            "some of it is missing: look for what was not downloaded or extracted"
            if value < wanted.about
            else "there is more than one corpus in it: give it a folder of its own"
        )
        found.append(judge(wanted.holds(value), name, shown, str(wanted), mend))
    return found
