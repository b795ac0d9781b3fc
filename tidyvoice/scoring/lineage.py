"""Provenance of score files: ``NAME.score.json`` holds the steps that made ``NAME.score``."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import refuse_inputs, sha256, write_text
from tidyvoice.scoring.provenance import (
    CALIBRATED,
    FLAWS,
    UNKNOWN_ORIGIN,
    Kind,
    Remark,
    Source,
    Step,
    describe,
)
from tidyvoice.scoring.trials import ScoreTable, write_scores
from tidyvoice.settings import Strict, read_json


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
        """True if all steps are known."""
        return all(step.step != UNKNOWN_ORIGIN for step in all_steps(self.steps))

    def records(self, kind: Kind) -> list[Remark]:
        """Return the remarks of a kind of all steps, each once."""
        records: list[Remark] = []
        for step in all_steps(self.steps):
            records += [r for r in step.remarks if r.kind == kind and r not in records]
        return records

    def texts(self, kind: Kind) -> list[str]:
        """Return the remarks of a kind in words."""
        return list(map(describe, self.records(kind)))

    @property
    def flaws(self) -> dict[str, list[str]]:
        """Why results are too optimistic, by the kind of the remark; empty without any."""
        return {kind: texts for kind in FLAWS if (texts := self.texts(kind))}

    def remarks(self, about: str = "") -> list[str]:
        """Return a line for each remark; ``about`` names the scores, such as "system: "."""
        flaws = [f"{kind.upper()}: {about}{text}" for kind in FLAWS for text in self.texts(kind)]
        return [*flaws, *(f"not checked: {about}{text}" for text in self.texts("unchecked"))]

    def to_json(self) -> dict[str, list[str] | None]:
        """Return the remarks by kind; None where only unknown steps could have recorded them."""
        nothing = [] if self.complete else None
        flaws = {kind.replace("-", "_"): self.texts(kind) or nothing for kind in FLAWS}
        return {**flaws, "unchecked": self.texts("unchecked")}


def all_steps(steps: Iterable[Step]) -> Iterable[Step]:
    """Yield steps and those of the systems that they fuse."""
    for step in steps:
        for system in step.systems:
            yield from all_steps(system)
        yield step


def companions(paths: Iterable[Path]) -> list[Path]:
    """Return the files with the provenance beside them."""
    paths = list(paths)
    return [*paths, *map(lineage_path, paths)]


def refuse_to_lose(out: Path, inputs: Iterable[Path], save: Path | None = None) -> None:
    """Refuse to write scores, their provenance or ``save`` over an input or a foreign file."""
    sidecar = lineage_path(out)
    refuse_inputs([out, sidecar, *([save] if save else [])], companions(inputs))
    if out.suffix == ".json":
        raise TidyVoiceError(f"{out}: names in .json are those of provenances. Give another --out.")
    if sidecar.exists() and '"fingerprint"' not in sidecar.read_text(errors="replace"):
        raise TidyVoiceError(f"{sidecar} would be replaced. Move it away, or give another --out.")


def write_with_lineage(path: str | Path, table: ScoreTable, steps: Sequence[Step]) -> Lineage:
    """Write a score file and its provenance beside it."""
    path = Path(path)
    sidecar = lineage_path(path)
    sidecar.unlink(missing_ok=True)
    write_scores(path, table)
    record = _Record(fingerprint=_fingerprint(path), steps=tuple(steps))
    write_text(sidecar, record.model_dump_json(indent=2, exclude_defaults=True) + "\n")
    return Lineage(record.steps)


def read_lineage(path: str | Path) -> Lineage:
    """Read the provenance of a score file: one unknown step if it is missing or of other scores."""
    path = Path(path)
    sidecar = lineage_path(path)
    if sidecar.is_file():
        fix = f"make {path.name} again, or delete {sidecar.name}"
        record = read_json(_Record, sidecar, fix)
        # Another program may have replaced the scores.
        if record.steps and record.fingerprint == _fingerprint(path):
            return Lineage(record.steps)
    trials = Source(role="trials", path=str(path))
    remark = Remark(kind="unchecked", reason="unknown origin", one=trials)
    scores = Source(role="scores", path=str(path))
    return Lineage((Step(step=UNKNOWN_ORIGIN, inputs=(scores,), remarks=(remark,)),))


def source(role: str, path: str | Path, speakers: int | None = None) -> Source:
    """Return the record of a file with its checksum."""
    return Source(role=role, path=str(path), sha256=sha256(path), speakers=speakers)


def lineage_path(path: Path) -> Path:
    """Return the path of the provenance of a score file."""
    return Path(f"{path}.json")


def _fingerprint(path: Path) -> str:
    return f"{path.stat().st_size} {sha256(path)}"
