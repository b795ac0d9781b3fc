"""Trial list of the dev split: targets and non-targets, within and across languages."""

from collections.abc import Sequence
from itertools import product

import numpy as np

from local.mini.plan import Speaker
from local.mini.seeds import stream
from local.mini.settings import Trials


def draw_trials(
    speakers: Sequence[Speaker], wanted: Trials, seed: int
) -> tuple[list[str], list[str]]:
    """Draw trials of the four kinds, shuffled; a pair of utterances occurs at most once.

    Non-targets are drawn from all pairs of utterances of all pairs of speakers.

    Returns:
        Lines ``1 enroll test`` or ``0 enroll test``; and a remark on each kind that has fewer pairs
        than wanted, all of which are then used.
    """
    rng = stream(seed, "trials")
    rows = [
        (number, language, utterance)
        for number, speaker in enumerate(speakers)
        for language, utterance in speaker.utterances
    ]
    owner = np.array([row[0] for row in rows])
    language = np.array([row[1] for row in rows])
    first, second = np.triu_indices(len(rows), k=1)
    same_speaker = owner[first] == owner[second]
    same_language = language[first] == language[second]

    lines: list[str] = []
    remarks: list[str] = []
    for target, within in product((True, False), (True, False)):
        pairs = np.flatnonzero((same_speaker == target) & (same_language == within))
        count = wanted.targets if target else wanted.nontargets
        if count > len(pairs):
            kind = f"{'same' if within else 'cross'}-language {'' if target else 'non-'}targets"
            remarks.append(
                f"trials: only {len(pairs):,} {kind} exist, {count:,} wanted: all are used"
            )
        chosen = rng.choice(pairs, min(count, len(pairs)), replace=False)
        swapped = rng.random(len(chosen)) < 0.5
        enroll = np.where(swapped, second[chosen], first[chosen])
        test = np.where(swapped, first[chosen], second[chosen])
        lines += [
            f"{int(target)} {rows[e][2]} {rows[t][2]}" for e, t in zip(enroll, test, strict=True)
        ]
    return [lines[index] for index in rng.permutation(len(lines))], remarks
