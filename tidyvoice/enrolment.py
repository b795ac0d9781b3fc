"""Enrolled voices: a speaker from several recordings, and the search for an unknown among many."""

import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import atomic_path
from tidyvoice.verifier import Verifier

COLUMNS = ("names", "vectors", "recordings", "seconds", "model")
MEND = "`tidyvoice enroll` writes one"
NOBODY = "nobody is enrolled: enrol speakers first"


@dataclass(frozen=True)
class Enrolment:
    """A speaker as a model knows them.

    Attributes:
        name: of the speaker.
        vector: mean of the raw embeddings of their recordings, float32 [D].
        recordings: how many.
        seconds: what they last together.
        model: the model that made the embeddings, see ``SpeakerEncoder.weights``.

    Example:
        >>> from tidyvoice import SpeakerEncoder
        >>> encoder = SpeakerEncoder.from_pretrained("model", device="cpu")
        >>> ann = encoder.enrol("Ann", ["ann-1.wav", "ann-2.wav"])
        >>> ann.recordings, encoder.verify(ann, "ann-3.wav").same_speaker
        (2, True)
    """

    name: str
    vector: np.ndarray
    recordings: int
    seconds: float
    model: str | None = None


@dataclass(frozen=True)
class Candidate:
    """An enrolled speaker who may be the one who speaks.

    Attributes:
        score: cosine of the mean embedding and the recording's.
        llr: that it is this speaker against anybody else, in nats; None without a calibration.
    """

    name: str
    score: float
    llr: float | None


@dataclass(frozen=True)
class Identification:
    """Who speaks.

    Attributes:
        name: the enrolled speaker; None if none is near enough.
        candidates: the nearest ones, the nearest first.
        threshold: the score that the nearest had to reach.
        false_alarm: the target false-alarm rate, which holds for speech like that of ``fitted_to``.
        fitted_to: see ``Verifier.fitted_to``.
        warnings: what is to be said against the recording, and that nobody can be found where the
            threshold is 1.

    Example:
        >>> from tidyvoice import Gallery, SpeakerEncoder
        >>> encoder = SpeakerEncoder.from_pretrained("model", device="cpu")
        >>> gallery = Gallery([encoder.enrol("Ann", ["ann-1.wav"])])
        >>> found = encoder.identify("ann-2.wav", gallery, false_alarm=0.2)
        >>> found.name, found.candidates[0].score >= found.threshold
        ('Ann', True)
    """

    name: str | None
    candidates: tuple[Candidate, ...]
    threshold: float
    false_alarm: float
    fitted_to: str
    warnings: tuple[str, ...] = ()


class Gallery:
    """Enrolled speakers, each name once, all of one model.

    Args:
        enrolments: the first ones.

    Raises:
        TidyVoiceError: see ``add``.

    Example:
        >>> from tidyvoice import SpeakerEncoder
        >>> encoder = SpeakerEncoder.from_pretrained("model", device="cpu")
        >>> gallery = Gallery()
        >>> gallery.add(encoder.enrol("Ann", ["ann-1.wav"]))
        >>> gallery.save("voices.npz")
        >>> Gallery.load("voices.npz").names
        ('Ann',)
    """

    def __init__(self, enrolments: Iterable[Enrolment] = ()):
        self._enrolments: dict[str, Enrolment] = {}
        # One search's preparation: verifier, unit vectors and names. A change puts a new, empty
        # list in its place, so that a search in another thread cannot leave an old one behind.
        self._prepared: list[tuple[Verifier, np.ndarray, tuple[str, ...]]] = []
        for enrolment in enrolments:
            self.add(enrolment)

    def __len__(self) -> int:
        return len(self._enrolments)

    def __iter__(self) -> Iterator[Enrolment]:
        return iter(self._enrolments.values())

    @property
    def names(self) -> tuple[str, ...]:
        """In the order of enrolment."""
        return tuple(self._enrolments)

    @property
    def model(self) -> str | None:
        """The model of all of them; None while there are none."""
        return next((enrolment.model for enrolment in self), None)

    def add(self, enrolment: Enrolment, replace: bool = False) -> None:
        """Add a speaker.

        Raises:
            TidyVoiceError: the name is taken and may not be replaced, or the embeddings are of
                another model than those that are there.
        """
        if enrolment.name in self._enrolments and not replace:
            raise TidyVoiceError(
                f"{enrolment.name!r} is enrolled already: take another name, or replace them "
                "(replace=True, --replace)"
            )
        others = (one for one in self if one.name != enrolment.name)
        first = next(others, enrolment)
        if (first.model, first.vector.shape) != (enrolment.model, enrolment.vector.shape):
            raise TidyVoiceError(
                f"{enrolment.name!r} is enrolled with another model than {first.name!r}: enrol all "
                "with one"
            )
        self._enrolments[enrolment.name] = enrolment
        self._prepared = []

    def remove(self, name: str) -> None:
        """Remove a speaker.

        Raises:
            TidyVoiceError: no such name.
        """
        if self._enrolments.pop(name, None) is None:
            raise TidyVoiceError(f"{name!r} is not enrolled")
        self._prepared = []

    def nearest(
        self, embedding: np.ndarray, verifier: Verifier, top: int = 5
    ) -> tuple[Candidate, ...]:
        """The ``top`` speakers nearest to a raw embedding [D], the nearest first.

        Other threads may add and remove speakers meanwhile.

        Raises:
            TidyVoiceError: nobody is enrolled, or ``top`` is below 1.
        """
        if top < 1:
            raise TidyVoiceError(f"top {top}: ask for at least one candidate")
        kept = self._prepared
        prepared = kept[0] if kept else None
        if prepared is None or prepared[0] is not verifier:
            everyone = tuple(self._enrolments.values())
            if not everyone:
                raise TidyVoiceError(NOBODY)
            units = verifier.directions(np.stack([one.vector for one in everyone]))
            prepared = verifier, units, tuple(one.name for one in everyone)
            kept[:] = [prepared]
        _, units, names = prepared
        scores = units @ verifier.directions(embedding[None])[0]
        places = np.argpartition(-scores, min(top, len(scores)) - 1)[:top]
        return tuple(
            Candidate(names[place], float(scores[place]), float(verifier.llr(scores[place])))
            for place in places[np.argsort(-scores[places], kind="stable")]
        )

    def save(self, path: str | Path) -> None:
        """Write an ``.npz`` without pickles, whole or not at all."""
        everyone = list(self)
        columns = {
            "names": np.array(self.names, dtype=np.str_),
            "vectors": np.stack([one.vector for one in everyone]) if everyone else np.empty((0, 0)),
            "recordings": np.array([one.recordings for one in everyone], dtype=np.int64),
            "seconds": np.array([one.seconds for one in everyone], dtype=np.float64),
            "model": np.array(self.model or ""),
        }
        # An open file, because numpy would add ".npz" to a name that ends otherwise.
        with atomic_path(path) as partial, open(partial, "wb") as file:
            np.savez(file, **columns)

    @classmethod
    def load(cls, path: str | Path) -> "Gallery":
        """Read what ``save`` wrote.

        Raises:
            TidyVoiceError: no such file, or no gallery.
        """
        if not Path(path).is_file():
            raise TidyVoiceError(f"{path}: no such file; {MEND}")
        try:
            with np.load(path, allow_pickle=False) as file:
                names, vectors, recordings, seconds, model = (file[key] for key in COLUMNS)
            rows = zip(names.tolist(), vectors, recordings.tolist(), seconds.tolist(), strict=True)
            named = str(model) or None
            made = cls(Enrolment(*row, named) for row in rows)
        except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile):
            raise TidyVoiceError(f"{path} is no gallery of voices; {MEND}") from None
        if not np.isfinite(vectors).all():
            raise TidyVoiceError(f"{path}: a number in it is not finite; {MEND}")
        return made
