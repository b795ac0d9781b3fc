"""Provenance of scores: the steps that made them, their files, and overlaps of speakers.

Every command that writes scores writes ``NAME.score.json`` beside them. Later commands add their
step to those of their inputs, and the report shows them all.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import refuse_inputs, sha256, write_text
from tidyvoice.scoring.foreign import files_of
from tidyvoice.scoring.leaks import without_names
from tidyvoice.scoring.trials import ScoreTable, write_scores

SAMPLE, SAMPLE_BLOCK = 2**26, 2**16
CALIBRATED = ("calibration", "fusion")
UNKNOWN_ORIGIN = "origin unknown"
# Steps that a lineage can begin with.
ORIGINS = ("cosine", "fusion", UNKNOWN_ORIGIN)
# Value in a step's ``how`` that matters, but cannot be known.
UNKNOWN = "not known"
_NAMES = {
    UNKNOWN_ORIGIN: "system not known",
    "asnorm": "AS-norm",
    "snorm": "S-norm",
    "calibration": "calibrated",
    "fusion": "fused and calibrated",
}


@dataclass(frozen=True)
class Step:
    """One step of processing.

    Attributes:
        step: "cosine", "snorm", "asnorm", "language", "calibration" or "fusion";
            ``UNKNOWN_ORIGIN`` stands for steps that are not known, and comes first.
        text: what was done, in words.
        inputs: the files it took, by role, each "path" or "path (sha256 ...)".
        in_sample: overlaps of speakers that a flag allowed, in words.
        unchecked: what could not be checked, in words.
        how: what must be the same for scores of two lists to mean the same, by role.
        confounded: quality measures that alone separate targets from non-targets, in words.
    """

    step: str
    text: str
    inputs: dict[str, str] = field(default_factory=dict)
    in_sample: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()
    how: dict[str, str] = field(default_factory=dict)
    confounded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lineage:
    """The steps that made a score file, the first one first."""

    steps: tuple[Step, ...]

    @property
    def calibrated(self) -> bool:
        """True if the scores are log-likelihood ratios."""
        return self.steps[-1].step in CALIBRATED

    @property
    def known(self) -> bool:
        """True if the steps are all those that made the scores."""
        return all(step.step != UNKNOWN_ORIGIN for step in self.steps)

    @property
    def in_sample(self) -> list[str]:
        """All overlaps of speakers that flags allowed in any step."""
        return list(dict.fromkeys(said for step in self.steps for said in step.in_sample))

    @property
    def unchecked(self) -> list[str]:
        """All that could not be checked in any step."""
        return list(dict.fromkeys(said for step in self.steps for said in step.unchecked))

    @property
    def confounded(self) -> list[str]:
        """All quality measures that alone separate targets from non-targets in any step."""
        return list(dict.fromkeys(said for step in self.steps for said in step.confounded))

    @property
    def flaws(self) -> dict[str, list[str]]:
        """Reasons for which results may flatter, by the mark that they give; empty without any."""
        found = {"in-sample": self.in_sample, "confounded": self.confounded}
        return {mark: said for mark, said in found.items() if said}

    def remarks(self, about: str = "") -> list[str]:
        """Return all that was recorded against the scores, in lines that name what they are about.

        Args:
            about: the scores, such as "system: "; nothing where they are clear.
        """
        marked = [f"{mark.upper()}: {about}{s}" for mark, said in self.flaws.items() for s in said]
        return [*marked, *(f"not checked: {about}{said}" for said in self.unchecked)]

    def to_json(self) -> dict[str, list[str] | None]:
        """Return the same by kind; None where only unknown steps could have recorded something."""
        nothing = [] if self.known else None
        return {
            "in_sample": self.in_sample or nothing,
            "confounded": self.confounded or nothing,
            "unchecked": self.unchecked,
        }


def refuse_to_lose(out: Path, inputs: Iterable[Path], save: Path | None = None) -> None:
    """Refuse to write scores or their provenance over a file that is needed.

    Args:
        inputs: every file that is read, without the provenance beside them.
        save: another output.

    Raises:
        TidyVoiceError: an output is an input or another output, or a file of another kind already
            has the name of the provenance.
    """
    beside, read = lineage_path(out), [file for path in inputs for file in files_of(path)]
    outputs = [out, beside] if save is None else [out, beside, save]
    refuse_inputs(outputs, [*read, *map(lineage_path, read)])
    if beside.exists() and not _is_lineage(beside):
        raise TidyVoiceError(
            f"{beside} does not say where scores come from, and would be written over; move it "
            "away or give another --out"
        )


def _is_lineage(path: Path) -> bool:
    try:
        return "fingerprint" in dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return False


def write_with_lineage(path: str | Path, table: ScoreTable, steps: Sequence[Step]) -> None:
    """Write a score file and its provenance beside it.

    Raises:
        TidyVoiceError: see ``trials.write_scores``.
    """
    path = Path(path)
    beside = lineage_path(path)
    beside.unlink(missing_ok=True)
    write_scores(path, table)
    content = {"fingerprint": fingerprint(path), "steps": [asdict(step) for step in steps]}
    write_text(beside, json.dumps(content, indent=2) + "\n")


def read_lineage(path: str | Path) -> Lineage:
    """Read the provenance of a score file.

    It begins with ``UNKNOWN_ORIGIN`` where there is none, where it belongs to other scores, and
    where it lacks the first step, as in those of earlier versions.

    Raises:
        TidyVoiceError: the file beside it cannot be read.
    """
    path = Path(path)
    beside = lineage_path(path)
    origin = Step(
        UNKNOWN_ORIGIN,
        f"origin unknown: nothing beside {path} says how these scores were made",
        {"scores": str(path)},
        unchecked=(
            f"the trials of {path} against what made their scores: their origin is unknown",
        ),
    )
    if not beside.is_file():
        return Lineage((origin,))
    try:
        content = json.loads(beside.read_text(encoding="utf-8"))
        expected, steps = content["fingerprint"], content["steps"]
        made = tuple(
            Step(
                step["step"],
                step["text"],
                dict(step["inputs"]),
                tuple(map(without_names, step["in_sample"])),
                tuple(step["unchecked"]),
                dict(step["how"]),
                tuple(step.get("confounded", ())),
            )
            for step in steps
        )
    except (ValueError, TypeError, KeyError) as error:
        raise TidyVoiceError(
            f"{beside}: cannot be read ({error!r}); move it away, and make {path.name} again"
        ) from None
    # Scores that another program wrote over ours are not what the steps made.
    if fingerprint(path) != expected:
        return Lineage((origin,))
    complete = made and made[0].step in ORIGINS
    return Lineage(made if complete else (origin, *made))


def in_words(path: str | Path) -> str:
    """Name the system that made a score file, such as "centred cosine, AS-norm, calibrated"."""
    return ", ".join(map(_name, read_lineage(path).steps))


def _name(step: Step) -> str:
    if step.step == "cosine":
        return "plain cosine" if step.how.get("mean") == "none" else "centred cosine"
    if step.step == "language":
        blind = step.how.get("languages") == "guessed"
        return "blind language-aware norm" if blind else "language-aware norm"
    return _NAMES.get(step.step, step.step)


def with_checksum(path: str | Path) -> str:
    """Return ``path (sha256 ...)``, for the inputs of a step."""
    return f"{path} (sha256 {checksum(path)})"


def checksum(path: str | Path) -> str:
    """Return the SHA-256 of a file; of a table of several files that of their checksums."""
    sums = [sha256(file) for file in files_of(Path(path))]
    return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()


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
