"""The challenge's submission: the scores of both evaluation lists in one zip.

It holds ``tv26_eval-A.txt`` and ``tv26_eval-U.txt``, each one score a line in the order of its
list, no header, the higher the likelier the same speaker (TidyVoice 2026, arXiv 2601.21960).
"""

import io
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
from tidyvoice.files import atomic_path, refuse_inputs, sha256
from tidyvoice.scoring.lineage import in_words, lineage_path, read_lineage
from tidyvoice.scoring.trials import Trials, read_scores, read_trials

# The evaluation lists: the name in the zip and the number of trials.
NAMES = {"A": "tv26_eval-A.txt", "U": "tv26_eval-U.txt"}
TRIALS = {"A": 4_000_000, "U": 1_280_000}

# Digits shrink by 6 % more at zlib's default, which takes seven times as long.
_LEVEL = 1
# Whoever packs the scores, and whenever (zipfile gives the year 1980), the bytes are the same.
_UNIX, _MODE = 3, 0o100644 << 16
_LONGEST_LINE = len("-1.2345678901234567e-100\n")
_BLOCK = 2**20


@dataclass(frozen=True)
class Submission:
    """A zip that was written.

    Attributes:
        sha256: its checksum; scores that are equal give the same with the same zlib.
        lines: by the name of the file in it.
        systems: what made the scores, in words, by the name of the file.
        in_sample: overlaps of speakers that were allowed on the way to its scores, in words.
        confounded: quality measures that alone separate targets from non-targets, in words.
    """

    out: Path
    sha256: str
    lines: dict[str, int]
    systems: dict[str, str]
    in_sample: list[str]
    confounded: list[str]


def write_submission(
    out: Path, scores: Mapping[str, Path], trials: Mapping[str, Path], any_count: bool = False
) -> Submission:
    """Check the score files against the lists and write the zip, whole or not at all.

    The zip is read back and compared with the scores before it gets its name.

    Args:
        scores: score file by list, "A" and "U"; their labels are ignored.
        trials: the lists; ids match with or without one trailing ``.wav``.
        any_count: allow lists of another number of trials than the challenge's.

    Raises:
        TidyVoiceError: naming file and line: a faulty file (see ``read_trials``, ``read_scores``),
            a list that is not as long as the challenge's, scores that are not those of the list, in
            its order.
    """
    read = [*scores.values(), *map(lineage_path, scores.values()), *trials.values()]
    refuse_inputs([out], read)
    listed = {which: read_trials(trials[which]) for which in NAMES}
    if not any_count:
        for which in NAMES:
            _check_count(which, listed[which])
    scored = {which: read_scores(scores[which]) for which in NAMES}
    for which, other in (("A", "U"), ("U", "A")):
        if found := _difference(scored[which].trials, listed[which]):
            mend = "score that list"
            if _difference(scored[which].trials, listed[other]) is None:
                mend = f"these are the scores of {listed[other].source}: A and U are swapped"
            raise TidyVoiceError(f"{found}; {mend}")
    values = {NAMES[which]: table.scores for which, table in scored.items()}
    with atomic_path(out) as partial:
        _write(partial, values)
        _verify(partial, values, out)
    lines = {name: len(column) for name, column in values.items()}
    systems = {NAMES[which]: in_words(path) for which, path in scores.items()}
    return Submission(out, sha256(out), lines, systems, *_flaws(scores))


def _flaws(scores: Mapping[str, Path]) -> tuple[list[str], list[str]]:
    """Return what is in-sample and what is confounded in the provenance, and warn of both."""
    in_sample: dict[str, None] = {}
    confounded: dict[str, None] = {}
    for path in scores.values():
        lineage = read_lineage(path)
        in_sample |= dict.fromkeys(lineage.in_sample)
        confounded |= dict.fromkeys(lineage.confounded)
        for mark, reasons in lineage.flaws.items():
            for said in reasons:
                warnings.warn(f"{path} is {mark.upper()}: {said}", TidyVoiceWarning, stacklevel=3)
    return list(in_sample), list(confounded)


def _check_count(which: str, listed: Trials) -> None:
    expected, found = TRIALS[which], len(listed)
    if found == expected:
        return
    other = "U" if which == "A" else "A"
    mend = "fetch it again, or allow it with --any-count"
    if found == TRIALS[other]:
        mend = f"list {other} has as many: A and U are swapped"
    raise TidyVoiceError(
        f"{listed.source}:{min(found, expected + 1)}: {found:,} trials, where the challenge's list "
        f"{which} has {expected:,}; {mend}"
    )


def _difference(scored: Trials, listed: Trials) -> str | None:
    """Say which line of a score file is the first that differs from the list; None without any."""
    if (trial := scored.first_other(listed)) is not None:
        return (
            f"{scored.source}:{trial + 1}: the trial '{scored.pair(trial)}' where "
            f"{listed.source}:{trial + 1} has '{listed.pair(trial)}'"
        )
    if len(scored) < len(listed):
        return (
            f"{scored.source}:{len(scored)}: the file ends here, after {len(scored):,} of the "
            f"{len(listed):,} trials of {listed.source}"
        )
    if len(scored) > len(listed):
        return (
            f"{scored.source}:{len(listed) + 1}: {listed.source} has no more than {len(listed):,} "
            "trials"
        )
    return None


def _write(path: Path, values: Mapping[str, np.ndarray]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for name, scores in values.items():
            large = _LONGEST_LINE * len(scores) > zipfile.ZIP64_LIMIT
            with archive.open(name, "w", force_zip64=large) as file:
                pl.DataFrame({"score": scores}).write_csv(file, include_header=False)
            info = archive.getinfo(name)
            info.create_system, info.external_attr = _UNIX, _MODE


def _verify(path: Path, values: Mapping[str, np.ndarray], out: Path) -> None:
    """Read the zip in another way than it was written, and compare.

    Raises:
        TidyVoiceError: it does not hold the scores.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            sound = archive.namelist() == list(values)
            for name, scores in values.items():
                with io.BufferedReader(archive.open(name), _BLOCK) as lines:
                    read = np.fromiter(map(float, lines), np.float64)
                    sound &= np.array_equal(read, scores)
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError):
        sound = False
    if not sound:
        raise TidyVoiceError(
            f"{out}: what was written does not read back as the scores, so it is not kept; check "
            "the disk and try again"
        )
