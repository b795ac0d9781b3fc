"""The challenge's submission: the scores of both evaluation lists in one zip.

It holds ``tv26_eval-A.txt`` and ``tv26_eval-U.txt``, each one score a line in the order of its
list, without a header; higher means the same speaker (TidyVoice 2026, arXiv 2601.21960).
"""

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning, reading
from tidyvoice.files import atomic_path, refuse_inputs, sha256
from tidyvoice.scoring.lineage import companions, read_lineage
from tidyvoice.scoring.pairs import difference
from tidyvoice.scoring.provenance import FLAWS, title
from tidyvoice.scoring.trials import read_scores, read_trials

# The evaluation lists: the name in the zip and the number of trials.
NAMES = {"A": "tv26_eval-A.txt", "U": "tv26_eval-U.txt"}
TRIALS = {"A": 4_000_000, "U": 1_280_000}

# Of zlib, whose default makes the zip 6 % smaller but takes seven times as long.
_LEVEL = 1
# With a fixed system and mode, and zipfile's year 1980, the same scores give the same bytes.
_UNIX, _MODE = 3, 0o100644 << 16


def write_submission(
    out: Path, scores: Mapping[str, Path], trials: Mapping[str, Path], any_count: bool = False
) -> dict[str, Any]:
    """Check the score files against the lists, write the zip, and compare it with the scores.

    The same scores give the same bytes. Scores that are in-sample or confounded give a warning.

    ``scores`` and ``trials`` are files by list, "A" and "U"; ids match with or without ``.wav``.
    With ``any_count`` the lists may have another length than the challenge's.
    """
    refuse_inputs([out], [*companions(scores.values()), *trials.values()])
    values, systems, flaws = {}, {}, {kind: {} for kind in FLAWS}
    for which, name in NAMES.items():
        listed = read_trials(trials[which])
        if len(listed) != TRIALS[which] and not any_count:
            text = f"{len(listed):,} trials, but the challenge's list {which} has {TRIALS[which]:,}"
            raise TidyVoiceError(f"{listed.source}: {text}. Download it, or give --any-count.")
        table = read_scores(scores[which])
        if text := difference(table.trials, listed):
            raise TidyVoiceError(f"{text}. Give the scores of list {which}.")
        values[name] = table.scores
        lineage = read_lineage(scores[which])
        systems[name] = ", ".join(map(title, lineage.steps))
        for kind, texts in lineage.flaws.items():
            flaws[kind] |= dict.fromkeys(texts, scores[which])
    with atomic_path(out) as partial:
        _write(partial, values)
        _verify(partial, values, out)
    for kind, texts in flaws.items():
        for text, path in texts.items():
            warnings.warn(f"{path} is {kind.upper()}: {text}", TidyVoiceWarning, stacklevel=2)
    return {
        "submission": str(out),
        "sha256": sha256(out),
        "lines": {name: len(column) for name, column in values.items()},
        "systems": systems,
        **{kind.replace("-", "_"): list(texts) for kind, texts in flaws.items()},
    }


def _write(path: Path, values: Mapping[str, np.ndarray]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, scores in values.items():
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = _UNIX, _MODE
            text = pl.DataFrame({"score": scores}).write_csv(include_header=False)
            archive.writestr(info, text, zipfile.ZIP_DEFLATED, _LEVEL)


def _verify(path: Path, values: Mapping[str, np.ndarray], out: Path) -> None:
    """Read the zip in another way than it was written, and compare."""
    fix = "check the disk, and try again"
    with reading(out, "copy of the scores", fix), zipfile.ZipFile(path) as archive:
        for name, scores in values.items():
            lines = archive.read(name).split()
            if not np.array_equal(np.fromiter(map(float, lines), np.float64), scores):
                raise ValueError(f"other scores in {name}")
