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
        read: names from the ids; None if the ids do not contain speakers.
        listing: names from a file or a model; None without one.
        utterances: ids without ``.wav``; empty if only the speakers are known.
    """

    source: Source
    read: frozenset[str] | None = None
    listing: frozenset[str] | None = None
    utterances: frozenset[str] = frozenset()

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
        if read is not None and trials.label is not None:
            wrong = (read.codes[trials.enroll] == read.codes[trials.test]) != trials.label
            kinds = (trials.label, ~trials.label)
            # If many labels contradict them, the ids do not begin with speakers.
            if max(wrong[kind].mean() for kind in kinds if kind.any()) > MISREAD:
                read = None
            elif wrong.any() and utt2spk is None:
                trial = int(np.argmax(wrong))
                raise TidyVoiceError(
                    f"{trials.source}:{trial + 1}: the label of '{trials.pair(trial)}' is "
                    f"{LABELS[0 if trials.label[trial] else 1]}, but the speakers that the ids "
                    "begin with say otherwise. Correct the label, or give --utt2spk if the ids do "
                    "not begin with speakers."
                )
        listing = None if utt2spk is None else frozenset(speakers_of(trials, utt2spk).names)
        names = read and frozenset(read.names)
        count = next((len(group) for group in (listing, names) if group is not None), None)
        source = Source(role=role, path=str(path), speakers=count)
        return cls(source, names, listing, frozenset(map(stem, trials.ids)))

    @classmethod
    def named(cls, role: str, path: str | Path, speakers: Iterable[str] | None) -> "People":
        """Take speakers by their names; None if the names are not known."""
        listing = None if speakers is None else frozenset(speakers)
        count = None if listing is None else len(listing)
        return cls(Source(role=role, path=str(path), speakers=count), listing=listing)

    @property
    def names(self) -> frozenset[str] | None:
        """The names that were given, else those from the ids."""
        return self.read if self.listing is None else self.listing


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
        first, second = ((each.read or set()) | (each.listing or set()) for each in (one, other))
        speakers = (first & second) - {OTHERS}
        # Common utterances show common speakers even if the two sets name them differently.
        shared = sorted(speakers or one.utterances & other.utterances)
        both = {"one": one.source, "other": other.source}
        if shared:
            details = {"count": len(shared), "unit": "speakers" if speakers else "utterances"}
            remark = Remark(kind="in-sample", reason="shared", details=details, **both)
            if not self._allow:
                shown = ", ".join(shared[:SHOWN]) + (", ..." if len(shared) > SHOWN else "")
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
            elif people.read not in (None, people.names) and against.listing is None:
                reason = "renamed speakers"
            else:
                continue
            self.add(Remark(kind="unchecked", reason=reason, details={"side": side}, **both))
            return
