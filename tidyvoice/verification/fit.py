"""Fitting a verifier to a model's embeddings and a labelled trial list."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.scoring.calibration import Features, fit_calibration
from tidyvoice.scoring.cosine import trial_scores
from tidyvoice.scoring.distribution import Distribution
from tidyvoice.scoring.groups import Groups, read_maps, speakers_of
from tidyvoice.scoring.leaks import LeakGuard, People
from tidyvoice.scoring.provenance import describe
from tidyvoice.scoring.tables import Tables
from tidyvoice.scoring.trials import Trials, read_trials
from tidyvoice.verification.verifier import SHA256, Scale, Verifier

# Between 0.5, at which most users decide, and the priors of applications with few false alarms.
PRIOR = 0.1
ENROLLED = (2, 4, 8)  # numbers of enrolment recordings with a calibration of their own
DRAWN = 20_000  # target and non-target trials, at most, for each of them
FEWEST = (50, 1000)  # target and non-target trials, at least


def fit_verifier(
    embeddings: Path,
    trials: Path,
    mean: Path | None = None,
    backend: Path | None = None,
    utt2spk: Sequence[Path] = (),
    prior: float = PRIOR,
    allow_overlap: bool = False,
) -> Verifier:
    """Fit a verifier. The arguments are the options of ``tidyvoice fit-verifier``.

    Enrolment with several recordings is calibrated on trials whose enrolment side is replaced by
    the mean of as many utterances of the same speaker, if the list has enough of them.
    """
    tables = Tables([embeddings], mean, backend)
    table = tables.embeddings
    if not re.match(SHA256, table.model or ""):
        raise TidyVoiceError(f"{embeddings} does not name its model: extract it again")
    listed, spoken_by = read_trials(trials), read_maps(utt2spk, "speaker")
    guard = LeakGuard(allow_overlap)
    tables.check(guard, People.of("trials", trials, listed, spoken_by))
    scores = trial_scores(table, listed, tables.backend)

    def remarks(kind: str) -> list[str]:
        # The verifier is published with the model: names of files, not their folders.
        return [describe(r, lambda path: Path(path).name) for r in guard.remarks if r.kind == kind]

    verifier = Verifier(
        model=table.model,
        backend=tables.backend.model_copy(update={"speakers": None, "languages": None}),
        scales=(_fit_scale(1, listed, scores, prior),),
        notes={
            "embeddings": Path(embeddings).name,
            "trials": Path(trials).name,
            "targets": int(listed.label.sum()),
            "nontargets": int((~listed.label).sum()),
            "prior": prior,
            "in_sample": remarks("in-sample"),
            "unchecked": remarks("unchecked"),
        },
    )
    scales, speakers = list(verifier.scales), speakers_of(listed, spoken_by)
    for recordings in ENROLLED if speakers else ():
        drawn = _draw(listed, speakers, recordings)
        if drawn is None:
            break
        several, members = drawn
        places = listed.places_in(table.ids, "embedding")
        enrolled = sum(table.vectors[places[column]] for column in members.T) / recordings
        sides = (verifier.prepare(side) for side in (enrolled, table.vectors[places[several.test]]))
        scales.append(_fit_scale(recordings, several, verifier.scores(*sides), prior))
    return verifier.model_copy(update={"scales": tuple(scales)})


def _fit_scale(recordings: int, trials: Trials, scores: np.ndarray, prior: float) -> Scale:
    (slope,), offset = fit_calibration(Features(trials, [scores]), prior).line()
    line = {"slope": float(slope), "offset": offset}
    return Scale(recordings=recordings, **line, distribution=Distribution.of(scores, trials.label))


def _draw(trials: Trials, speakers: Groups, recordings: int) -> tuple[Trials, np.ndarray] | None:
    """Choose trials, and the utterances that enrol their speakers, int64 [T x recordings].

    None if too few trials have enough other utterances of the enrolled speaker, or if the speakers
    contradict the labels.
    """
    if ((speakers.codes[trials.enroll] == speakers.codes[trials.test]) != trials.label).any():
        return None
    rng = np.random.default_rng(recordings)
    utterances = [np.flatnonzero(speakers.codes == code) for code in range(len(speakers.names))]
    rows, members = [], []
    for kind, fewest in zip((True, False), FEWEST, strict=True):
        before = len(rows)
        for row in rng.permutation(np.flatnonzero(trials.label == kind))[:DRAWN]:
            enrolled, test = trials.enroll[row], trials.test[row]
            others = rng.permutation(utterances[speakers.codes[enrolled]])[: recordings + 1]
            others = others[(others != enrolled) & (others != test)][: recordings - 1]
            if len(others) == recordings - 1:
                rows.append(row)
                members.append([enrolled, *others])
        if len(rows) - before < fewest:
            return None
    label = trials.label[rows]
    several = Trials(trials.ids, trials.enroll[rows], trials.test[rows], label, trials.source)
    return several, np.array(members)
