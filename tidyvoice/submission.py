"""The challenge's submission: the scores of both evaluation lists in one zip.

It holds ``tv26_eval-A.txt`` and ``tv26_eval-U.txt``, each one score a line in the order of its
list, without a header; higher means the same speaker (TidyVoice 2026, arXiv 2601.21960).
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
from tidyvoice.scoring.lineage import companions, in_words, read_lineage
from tidyvoice.scoring.pairs import difference
from tidyvoice.scoring.trials import Trials, read_scores, read_trials

# The evaluation lists: the name in the zip and the number of trials.
NAMES = {"A": "tv26_eval-A.txt", "U": "tv26_eval-U.txt"}
TRIALS = {"A": 4_000_000, "U": 1_280_000}
_OTHER = {"A": "U", "U": "A"}

# zlib's default level makes the zip 6 % smaller, but takes seven times as long.
_LEVEL = 1
# With a fixed system and mode, and zipfile's year 1980, the same scores give the same bytes.
_UNIX, _MODE = 3, 0o100644 << 16
_LONGEST_LINE = len("-1.2345678901234567e-100\n")
_BLOCK = 2**20


@dataclass(frozen=True)
class Submission:
    """A zip that was written.

    Attributes:
        sha256: its checksum; with the same zlib, equal scores give the same.
        lines: number of scores, by the name of the file in it.
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
    """Check the score files against the lists and write the zip.

    The zip is read back and compared with the scores before it gets its name. Scores that are
    in-sample or confounded give a warning.

    Args:
        scores: score file by list, "A" and "U"; their labels are ignored.
        trials: the lists; ids match with or without one trailing ``.wav``.
        any_count: allow lists of another number of trials than the challenge's.

    Raises:
        TidyVoiceError: naming file and line: a faulty file, a list that is not as long as the
            challenge's, scores of other trials than the list or in another order.
    """
    refuse_inputs([out], [*companions(scores.values()), *trials.values()])
    listed = {which: read_trials(trials[which]) for which in NAMES}
    if not any_count:
        for which in NAMES:
            _check_count(which, listed[which])
    scored = {which: read_scores(scores[which]) for which in NAMES}
    for which, other in _OTHER.items():
        if text := difference(scored[which].trials, listed[which]):
            swapped = difference(scored[which].trials, listed[other]) is None
            hint = f"These are scores of {listed[other].source}: swap A and U."
            raise TidyVoiceError(f"{text}. {hint if swapped else 'Score that list.'}")
    values = {NAMES[which]: table.scores for which, table in scored.items()}
    with atomic_path(out) as partial:
        _write(partial, values)
        _verify(partial, values, out)
    lineages = {path: read_lineage(path) for path in scores.values()}
    for path, lineage in lineages.items():
        for kind, texts in lineage.flaws.items():
            for text in texts:
                warnings.warn(f"{path} is {kind.upper()}: {text}", TidyVoiceWarning, stacklevel=2)
    return Submission(
        out,
        sha256(out),
        {name: len(column) for name, column in values.items()},
        {NAMES[which]: in_words(path) for which, path in scores.items()},
        list(dict.fromkeys(text for lineage in lineages.values() for text in lineage.in_sample)),
        list(dict.fromkeys(text for lineage in lineages.values() for text in lineage.confounded)),
    )


def _check_count(which: str, listed: Trials) -> None:
    expected, count = TRIALS[which], len(listed)
    if count == expected:
        return
    hint = "Download it again, or allow it with --any-count."
    if count == TRIALS[_OTHER[which]]:
        hint = f"List {_OTHER[which]} has as many: swap A and U."
    raise TidyVoiceError(
        f"{listed.source}:{min(count, expected + 1)}: {count:,} trials, but the challenge's list "
        f"{which} has {expected:,}. {hint}"
    )


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
            f"{out}: the zip does not hold the scores when it is read back. Check the disk, and "
            "try again."
        )
