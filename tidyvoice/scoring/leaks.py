"""The leak guard: keep the speakers of training and of evaluation apart.

A mean, a cohort, a calibration or a model that has seen the evaluated speakers makes results
better than they are for other speakers. Every command compares the speakers before it writes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.model_files import OTHERS
from tidyvoice.scoring.groups import speakers_of
from tidyvoice.scoring.provenance import Remark, Source, describe
from tidyvoice.scoring.trials import LABELS, Trials, stem

SHOWN = 3
# Share of the targets or of the non-targets that may contradict the ids. Wrong labels are few; ids
# that begin with a folder, a language or a session contradict nearly all labels of one kind.
MISREAD = 0.1


@dataclass(frozen=True)
class People:
    """The speakers behind a file.

    Attributes:
        source: the file in its role.
        utterances: ids without ``.wav``; empty if only the speakers are known.
        read: names from the ids; None if the ids do not contain speakers.
        given: names from a file or a model; None without one.
    """

    source: Source
    utterances: frozenset[str] = frozenset()
    read: frozenset[str] | None = None
    given: frozenset[str] | None = None

    @classmethod
    def of(
        cls, role: str, path: str | Path, trials: Trials, utt2spk: Mapping[str, str] | None = None
    ) -> "People":
        """Find the speakers of a list.

        Raises:
            TidyVoiceError: ``utt2spk`` lacks an utterance; or, without ``utt2spk``, a label
                contradicts the ids although nearly all labels agree with them.
        """
        read = speakers_of(trials)
        # If many labels contradict them, the ids do not begin with speakers.
        if read is not None:
            share, first = _contradicted(trials, read.codes)
            if share > MISREAD:
                read = None
            elif first and utt2spk is None:
                raise TidyVoiceError(
                    f"{first}, but its ids begin with other speakers. Correct the label, or give "
                    "--utt2spk if the ids do not begin with speakers."
                )
        given = speakers_of(trials, utt2spk) if utt2spk is not None else None
        groups = read if given is None else given
        count = None if groups is None else len(groups.names)
        return cls(
            Source(role=role, path=str(path), speakers=count),
            frozenset(map(stem, trials.ids)),
            read and frozenset(read.names),
            given and frozenset(given.names),
        )

    @classmethod
    def named(cls, role: str, path: str | Path, speakers: Iterable[str] | None) -> "People":
        """Take speakers by their names; None if the names are not known."""
        given = None if speakers is None else frozenset(speakers)
        count = None if given is None else len(given)
        return cls(Source(role=role, path=str(path), speakers=count), given=given)

    @property
    def names(self) -> frozenset[str] | None:
        """The names that were given, else those from the ids."""
        return self.read if self.given is None else self.given


class LeakGuard:
    """Comparison of speakers.

    Its records hold counts, not names, because reports and model cards show them to others.

    Attributes:
        remarks: allowed overlaps, impossible comparisons, and what other checks add.
    """

    def __init__(self, allow_overlap: bool = False):
        self._allow = allow_overlap
        self.remarks: tuple[Remark, ...] = ()

    def add(self, *remarks: Remark) -> None:
        """Add remarks that are not recorded yet."""
        self.remarks = (*self.remarks, *(each for each in remarks if each not in self.remarks))

    def disjoint(self, one: People, other: People) -> None:
        """Check that two sets share no utterance and no speaker, under any name.

        Raises:
            TidyVoiceError: they do, and overlaps are not allowed.
        """
        shared: set[str] = set()
        for ours in (one.read, one.given):
            for theirs in (other.read, other.given):
                shared |= (ours or frozenset()) & (theirs or frozenset()) - {OTHERS}
        # Common utterances show common speakers even if the two sets name them differently.
        names = sorted(shared or one.utterances & other.utterances)
        both = {"one": one.source, "other": other.source}
        if names:
            details = {"count": len(names), "unit": "speakers" if shared else "utterances"}
            remark = Remark(kind="in-sample", reason="shared", details=details, **both)
            if not self._allow:
                shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
                raise TidyVoiceError(
                    f"{describe(remark)} ({shown}), so results would be too optimistic. Use other "
                    "speakers, or allow it with --allow-overlap, which marks the results."
                )
            self.add(remark)
        for side, people, against in (("one", one, other), ("other", other, one)):
            if people.names is None:
                reason = "unknown speakers"
            elif OTHERS in people.names:
                reason = "unknown others"
            elif people.read not in (None, people.names) and against.given is None:
                reason = "renamed speakers"
            else:
                continue
            self.add(Remark(kind="unchecked", reason=reason, details={"side": side}, **both))
            return


def _contradicted(trials: Trials, speakers: np.ndarray) -> tuple[float, str]:
    """Compare the labels with the speakers, int [U].

    Returns:
        The share of the targets or of the non-targets that the speakers contradict, whichever is
        higher, and the first such trial in words; "" without any.
    """
    if trials.label is None:
        return 0.0, ""
    wrong = (speakers[trials.enroll] == speakers[trials.test]) != trials.label
    if not wrong.any():
        return 0.0, ""
    trial = int(np.argmax(wrong))
    share = max(wrong[side].mean() for side in (trials.label, ~trials.label) if side.any())
    kind = LABELS[0] if trials.label[trial] else LABELS[1]
    return share, f"{trials.source}:{trial + 1}: '{trials.pair(trial)}' is labelled {kind}"
