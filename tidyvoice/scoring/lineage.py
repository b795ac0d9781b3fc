"""Provenance of score files: ``NAME.score.json`` holds the steps that made ``NAME.score``."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import refuse_inputs, sha256, write_text
from tidyvoice.scoring.provenance import (
    CALIBRATED,
    UNKNOWN_ORIGIN,
    Kind,
    Remark,
    Source,
    Step,
    describe,
    title,
)
from tidyvoice.scoring.trials import ScoreTable, write_scores
from tidyvoice.settings import Strict

SAMPLE, SAMPLE_BLOCK = 2**26, 2**16


class _Record(Strict):
    """Content of a ``NAME.score.json``."""

    fingerprint: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Lineage:
    """The steps that made a score file, the first one first."""

    steps: tuple[Step, ...]

    @property
    def calibrated(self) -> bool:
        """True if the scores are log-likelihood ratios."""
        return self.steps[-1].step in CALIBRATED

    @property
    def complete(self) -> bool:
        """True if the steps are all those that made the scores."""
        return all(step.step != UNKNOWN_ORIGIN for step in _all_steps(self.steps))

    def records(self, kind: Kind) -> list[Remark]:
        """Return the remarks of a kind of all steps, each once."""
        records: list[Remark] = []
        for step in _all_steps(self.steps):
            records += [r for r in step.remarks if r.kind == kind and r not in records]
        return records

    @property
    def in_sample(self) -> list[str]:
        """Overlaps of speakers that ``--allow-overlap`` allowed, in words."""
        return list(map(describe, self.records("in-sample")))

    @property
    def confounded(self) -> list[str]:
        """Quality measures that alone separate targets from non-targets, in words."""
        return list(map(describe, self.records("confounded")))

    @property
    def unchecked(self) -> list[str]:
        """Comparisons that were impossible, in words."""
        return list(map(describe, self.records("unchecked")))

    @property
    def flaws(self) -> dict[str, list[str]]:
        """Why results are too optimistic, by the kind of the remark; empty without any."""
        texts = {"in-sample": self.in_sample, "confounded": self.confounded}
        return {kind: each for kind, each in texts.items() if each}

    def remarks(self, about: str = "") -> list[str]:
        """Return a line for each remark.

        Args:
            about: names the scores in each line, such as "system: ".
        """
        marked = [
            f"{kind.upper()}: {about}{text}" for kind, ts in self.flaws.items() for text in ts
        ]
        return [*marked, *(f"not checked: {about}{text}" for text in self.unchecked)]

    def to_json(self) -> dict[str, list[str] | None]:
        """Return the remarks by kind; None where only unknown steps could have recorded them."""
        nothing = [] if self.complete else None
        return {
            "in_sample": self.in_sample or nothing,
            "confounded": self.confounded or nothing,
            "unchecked": self.unchecked,
        }


def _all_steps(steps: Iterable[Step]) -> Iterable[Step]:
    """Yield steps and those of the systems that they fuse."""
    for step in steps:
        for system in step.systems:
            yield from _all_steps(system)
        yield step


def companions(paths: Iterable[Path]) -> list[Path]:
    """Return the files and their provenance."""
    return [file for path in paths for file in (path, lineage_path(path))]


def refuse_to_lose(out: Path, inputs: Iterable[Path], save: Path | None = None) -> None:
    """Refuse to write scores, their provenance or ``save`` over a file that is needed.

    Raises:
        TidyVoiceError: an output is an input or another output, or a file of another kind already
            has the name of the provenance.
    """
    sidecar = lineage_path(out)
    refuse_inputs([out, sidecar, *([save] if save else [])], companions(inputs))
    if sidecar.exists() and not _is_record(sidecar):
        raise TidyVoiceError(
            f"{sidecar}: not the provenance of scores, and would be replaced. Move it away, or "
            "give another --out."
        )


def _is_record(path: Path) -> bool:
    try:
        return "fingerprint" in dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return False


def write_with_lineage(path: str | Path, table: ScoreTable, steps: Sequence[Step]) -> None:
    """Write a score file and its provenance beside it."""
    path = Path(path)
    sidecar = lineage_path(path)
    sidecar.unlink(missing_ok=True)
    write_scores(path, table)
    record = _Record(fingerprint=fingerprint(path), steps=tuple(steps))
    write_text(sidecar, record.model_dump_json(indent=2, exclude_defaults=True) + "\n")


def read_lineage(path: str | Path) -> Lineage:
    """Read the provenance of a score file: one unknown step if it is missing or of other scores.

    Raises:
        TidyVoiceError: the provenance cannot be read.
    """
    path = Path(path)
    sidecar = lineage_path(path)
    if sidecar.is_file():
        try:
            record = _Record.model_validate_json(sidecar.read_bytes())
        except ValidationError:
            raise TidyVoiceError(
                f"{sidecar}: not a provenance of this version. Make {path.name} again, or delete "
                f"{sidecar.name}."
            ) from None
        # Another program may have replaced the scores.
        if record.steps and record.fingerprint == fingerprint(path):
            return Lineage(record.steps)
    trials = Source(role="trials", path=str(path))
    remark = Remark(kind="unchecked", reason="unknown origin", one=trials)
    scores = Source(role="scores", path=str(path))
    return Lineage((Step(step=UNKNOWN_ORIGIN, inputs=(scores,), remarks=(remark,)),))


def in_words(path: str | Path) -> str:
    """Name the system that made a score file, such as "centred cosine, AS-norm, calibrated"."""
    return ", ".join(map(title, read_lineage(path).steps))


def source(role: str, path: str | Path, speakers: int | None = None) -> Source:
    """Return the record of a file with its checksum."""
    return Source(role=role, path=str(path), sha256=sha256(path), speakers=speakers)


def fingerprint(path: str | Path) -> str:
    """Return size and SHA-256; above ``SAMPLE`` bytes, of blocks spread evenly over the file.

    A score file of 12 million trials has a gigabyte: hashing all of it takes as long as scoring.
    """
    size = Path(path).stat().st_size
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        blocks = -(-min(size, SAMPLE) // SAMPLE_BLOCK)
        for number in range(blocks):
            file.seek(number * SAMPLE_BLOCK if size <= SAMPLE else number * size // blocks)
            digest.update(file.read(SAMPLE_BLOCK))
    return f"{size} {digest.hexdigest()}"


def lineage_path(path: Path) -> Path:
    """Return the path of the provenance of a score file."""
    return Path(f"{path}.json")
