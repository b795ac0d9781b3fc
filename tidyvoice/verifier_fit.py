"""From a model's embeddings and a labelled trial list to its verifier."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.scoring.calibration import Fit, fit_calibration
from tidyvoice.scoring.distribution import Distribution
from tidyvoice.scoring.embeddings import load_embeddings
from tidyvoice.scoring.lineage import read_lineage
from tidyvoice.scoring.pipeline import score_list
from tidyvoice.scoring.quality import Features
from tidyvoice.scoring.trials import read_scores
from tidyvoice.verifier import Verifier

# Between that of the decision that most people ask for, one half, and those of fewer false alarms.
PRIOR = 0.1


def fit_verifier(
    embeddings: Path,
    trials: Path,
    mean: Path | None = None,
    utt2spk: Sequence[Path] = (),
    prior: float = PRIOR,
    in_sample: bool = False,
) -> Verifier:
    """Fit what turns a model's scores into decisions.

    Args:
        embeddings: of the trials' utterances, of speakers that the model does not know.
        trials: a labelled list.
        mean: embeddings whose mean is subtracted first; nothing is without them.
        utt2spk: speakers of the list, for the leak guard; else read off the ids.
        prior: where the calibration is to fit best, see ``calibration.Fit``.
        in_sample: allow speakers that the model or the mean knows, and note it.

    Raises:
        TidyVoiceError: a faulty file, embeddings without the model that made them, too few trials,
            scores that are no higher for targets, speakers that are known already; see
            ``score_list``.
    """
    table = load_embeddings(embeddings)
    if table.model is None:
        raise TidyVoiceError(f"{embeddings} does not say which model made it: extract it again")
    centre = load_embeddings(mean) if mean else None
    # The scores and their provenance are files, which nobody needs afterwards.
    with tempfile.TemporaryDirectory(dir=embeddings.parent, prefix=".verifier-") as scratch:
        scores = Path(scratch) / "scores"
        score_list(embeddings, trials, scores, mean, utt2spk, in_sample)
        lineage = read_lineage(scores)
        scored = read_scores(scores)
    named = replace(scored.trials, source=str(trials))
    made = fit_calibration(Features(named, [scored.scores]), Fit(prior=prior))
    slope, offset = made.line()
    (step,) = lineage.steps
    paths = [embeddings, *([mean] if mean else []), *utt2spk]
    notes = {
        "trials": Path(trials).name,
        "targets": int(named.label.sum()),
        "nontargets": int((~named.label).sum()),
        "mean_of": len(centre.ids) if centre else 0,
        "prior": prior,
        "in_sample": _without_folders(step.in_sample, paths),
        "unchecked": _without_folders(step.unchecked, paths),
    }
    subtracted = centre.mean() if centre else np.zeros_like(table.vectors[0])
    distribution = Distribution.of(scored.scores, named.label)
    return Verifier(table.model, subtracted, float(slope[0]), offset, distribution, notes)


def _without_folders(sentences: Sequence[str], paths: Sequence[Path]) -> list[str]:
    """Replace paths by the names of their files, because a verifier is published."""
    for path in paths:
        sentences = [sentence.replace(str(path), Path(path).name) for sentence in sentences]
    return list(sentences)
