"""The speaker encoder: embeddings of recordings, and decisions about their speakers."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tidyvoice.encoder.embedder import Embedder, Source, warn
from tidyvoice.errors import TidyVoiceError
from tidyvoice.frontends import FrontendSettings
from tidyvoice.model_files import VERIFIER_FILE
from tidyvoice.modelhub.folder import load_model, model_files, model_folder, training_speakers
from tidyvoice.models.registry import EmbeddingModel
from tidyvoice.recordings import Recording
from tidyvoice.verification.enrollment import EMPTY, Enrollment, Gallery, Identification
from tidyvoice.verification.verifier import Verification, Verifier, log_odds, unit_length

Voice = Source | Enrollment


@dataclass(frozen=True)
class _Embedded:
    vector: np.ndarray
    recordings: int = 1
    warnings: tuple[str, ...] = ()


class SpeakerEncoder(Embedder):
    """A model with its front end and, if there is one, its verifier.

    Args:
        model, settings, device, trained_on, precision: see ``Embedder``.
        verifier: scores and decisions for this model; None without.

    Example:
        >>> from tidyvoice import SpeakerEncoder
        >>> encoder = SpeakerEncoder.from_pretrained("model", device="cpu")
        >>> encoder.embed("ann-1.wav").shape
        (16,)
        >>> encoder.verify("ann-1.wav", "bob-1.wav").same_speaker
        False
    """

    def __init__(
        self,
        model: EmbeddingModel,
        settings: FrontendSettings,
        device: str = "auto",
        trained_on: Sequence[str] | None = None,
        verifier: Verifier | None = None,
        precision: str = "float32",
    ):
        super().__init__(model, settings, device, trained_on, precision)
        self.verifier: Verifier | None = None
        self._use(verifier)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        device: str = "auto",
        revision: str = "main",
        precision: str = "float32",
    ) -> "SpeakerEncoder":
        """Load a model folder or a Hugging Face repository.

        Args:
            source: a folder, or OWNER/NAME if there is no such folder.
            device: "auto", "cpu", "cuda", "cuda:1" or "mps".
            revision: commit, tag or branch of a repository.
            precision: precision of the convolutions, "float32" or "bfloat16".

        Raises:
            TidyVoiceError: the model is missing or damaged, or its verifier belongs to another
                model.

        Example:
            >>> from tidyvoice import SpeakerEncoder
            >>> SpeakerEncoder.from_pretrained("model", device="cpu").frontend.feature_dim
            80
        """
        folder = model_folder(source, revision)
        model, settings = load_model(folder)
        encoder = cls(model, settings, device, training_speakers(folder), None, precision)
        encoder._use(Verifier.load(model_files(folder).folder), f"{folder}: ")
        return encoder

    def _use(self, verifier: Verifier | None, where: str = "") -> None:
        """Set the verifier, which must belong to this model."""
        if verifier is not None:
            # Extraction comes before fitting, and would be refused with the file still there.
            fix = (
                f"delete {VERIFIER_FILE}, extract, and fit a new one with `tidyvoice fit-verifier`"
            )
            if verifier.model != self.weights:
                raise TidyVoiceError(f"{where}the verifier belongs to another model: {fix}")
            size, wanted = len(verifier.mean), self.model.embed_dim
            if size != wanted:
                raise TidyVoiceError(
                    f"{where}the verifier's mean has {size} dimensions, embeddings have {wanted}: "
                    f"{fix}"
                )
        self.verifier = verifier

    def similarity(
        self,
        one: Voice | Sequence[Voice],
        other: Voice | Sequence[Voice],
        sample_rate: int | None = None,
        channel: int = 0,
    ) -> float | np.ndarray:
        """Return the cosine of the embeddings, centred if there is a verifier.

        Args:
            one, other, sample_rate, channel: see ``verify``.

        Returns:
            A float, or an array [N] if a side is a list.

        Example:
            >>> ann, bob = encoder.similarity(["ann-1.wav", "bob-1.wav"], "ann-2.wav")
            >>> bool(ann > bob)
            True
        """
        left, right, several = self._pairs(one, other, sample_rate, channel)
        cosines = self._cosines(left, right)
        return cosines if several else float(cosines[0])

    def verify(
        self,
        one: Voice | Sequence[Voice],
        other: Voice | Sequence[Voice],
        prior: float = 0.5,
        threshold: float | None = None,
        sample_rate: int | None = None,
        channel: int = 0,
    ) -> Verification | list[Verification]:
        """Decide whether two voices belong to one speaker.

        Args:
            one, other: a recording (see ``Recording.load``), an ``Enrollment``, an embedding (an
                array without ``sample_rate``), or a list of these. Two lists are compared in
                pairs, a list and a single voice with each other.
            prior: probability of one speaker before hearing the voices. With costs c_miss and c_fa
                of the errors, use p c_miss / (p c_miss + (1 - p) c_fa).
            threshold: score that one speaker must exceed; by default the one at which the
                probability is 0.5.
            sample_rate: rate of recordings that are arrays.
            channel: channel of all recordings.

        Returns:
            The result, or a list of results if a side is a list.

        Raises:
            TidyVoiceError: see ``Recording.load``; an enrolment of another model, lists of
                different lengths, or a prior that is not between 0 and 1.

        Example:
            >>> encoder.verify("ann-1.wav", "ann-2.wav").same_speaker
            True
            >>> results = encoder.verify("ann-1.wav", ["ann-2.wav", "bob-1.wav"])
            >>> [result.same_speaker for result in results]
            [True, False]
        """
        log_odds(prior)
        left, right, several = self._pairs(one, other, sample_rate, channel)
        if self.verifier is None:
            scores = self._cosines(left, right)
        else:
            prepared = (self.verifier.prepare(_stacked(side)) for side in (left, right))
            scores = self.verifier.scores(*prepared)
        results = []
        for place, score in enumerate(scores.tolist()):
            voices = left[place], right[place % len(right)]
            warnings = voices[0].warnings + voices[1].warnings
            if self.verifier is None:
                same = None if threshold is None else score > threshold
                result = Verification(score, None, None, same, threshold, prior, warnings)
            else:
                recordings = max(voice.recordings for voice in voices)
                result = self.verifier.decide(score, prior, warnings, recordings, threshold)
            results.append(result)
        return results if several else results[0]

    def enroll(
        self,
        name: str,
        recordings: Sequence[Source],
        sample_rate: int | None = None,
        channel: int = 0,
    ) -> Enrollment:
        """Enroll a speaker by the mean of the raw embeddings of their recordings.

        Raises:
            TidyVoiceError: the name is empty, or there is no recording; see ``Recording.load``.

        Warns:
            TidyVoiceWarning: a recording is of poor quality or, if there is a verifier, sounds
                like another speaker than the others.

        Example:
            >>> encoder.enroll("Ann", ["ann-1.wav", "ann-2.wav"]).recordings
            2
        """
        name = name.strip()
        if not name:
            raise TidyVoiceError("the name of a speaker is empty: give one")
        loaded = [Recording.load(source, sample_rate, channel) for source in recordings]
        vectors = self.embed_many(loaded)
        warn(self._strangers(loaded, vectors))
        mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        seconds = sum(recording.seconds for recording in loaded)
        return Enrollment(name, mean, len(loaded), seconds, self.weights)

    enrol = enroll

    def identify(
        self,
        recording: Source | Sequence[Source],
        gallery: Gallery,
        false_alarm: float = 0.01,
        top: int = 5,
        sample_rate: int | None = None,
        channel: int = 0,
    ) -> Identification | list[Identification]:
        """Find the speaker of a recording among the enrolled ones, or reject it.

        The terms of some corpora forbid this for their speakers: see
        ``tidyvoice.terms.IDENTIFICATION``.

        Args:
            recording: a recording, see ``Recording.load``, or a list of them.
            false_alarm: target rate of unknown speakers who are accepted as anybody in the
                gallery. The threshold follows from the non-target scores to which the verifier was
                fitted and from the size of the gallery. For another kind of speech, fit the
                verifier again.
            top: number of candidates.

        Returns:
            The result, or a list of results for a list of recordings.

        Raises:
            TidyVoiceError: there is no verifier, the gallery is empty or belongs to another model,
                or ``top`` is below 1; see ``Recording.load``.

        Example:
            >>> ann, bob = (encoder.enroll(name, [f"{name}-1.wav"]) for name in ("ann", "bob"))
            >>> encoder.identify("bob-2.wav", Gallery([ann, bob]), false_alarm=0.2).name
            'bob'
        """
        if self.verifier is None:
            raise TidyVoiceError(
                "the model has no verifier, and so no threshold: fit one with `tidyvoice "
                "fit-verifier`"
            )
        if not len(gallery):
            raise TidyVoiceError(EMPTY)
        self._check_model(gallery.model, "the gallery")
        sources = recording if isinstance(recording, (list, tuple)) else [recording]
        with closing(self._stream(sources, sample_rate, channel)) as embedded:
            results = [
                self._identify(loaded, vector, gallery, false_alarm, top)
                for loaded, vector in embedded
            ]
        return results if sources is recording else results[0]

    def _identify(
        self, recording: Recording, vector: np.ndarray, gallery: Gallery, rate: float, top: int
    ) -> Identification:
        candidates = gallery.nearest(vector, self.verifier, top)
        first, warnings = candidates[0], recording.warnings
        fitted = self.verifier.scale(first.recordings).distribution
        threshold = fitted.threshold(rate, len(gallery))
        if threshold >= fitted.span[1]:
            trials = sum(fitted.nontarget)
            warnings += (
                f"the threshold is above all known scores, so that nobody can be found: "
                f"{trials:,} non-target trials are too few for a false-alarm rate of {rate:g} "
                f"among {len(gallery):,} speakers. Fit the verifier to more trials, or use a "
                "larger rate (--false-alarm, false_alarm)",
            )
        name = first.name if first.score >= threshold else None
        return Identification(name, candidates, threshold, rate, self.verifier.fitted_to, warnings)

    def _pairs(
        self,
        one: Voice | Sequence[Voice],
        other: Voice | Sequence[Voice],
        sample_rate: int | None,
        channel: int,
    ) -> tuple[list[_Embedded], list[_Embedded], bool]:
        """Embed two sides, the longer one first; tell if one is a list."""
        sides, several = [], False
        for side in (one, other):
            rows = isinstance(side, np.ndarray) and side.ndim == 2 and sample_rate is None
            listed = rows or isinstance(side, (list, tuple))
            sides.append(self._embedded(list(side) if listed else [side], sample_rate, channel))
            several = several or listed
        left, right = sorted(sides, key=len, reverse=True)
        if len(right) not in (1, len(left)):
            raise TidyVoiceError(
                f"{len(sides[0])} voices against {len(sides[1])}: give lists of equal length, or "
                "a single voice on one side"
            )
        return left, right, several

    def _embedded(
        self, voices: Sequence[Voice], sample_rate: int | None, channel: int
    ) -> list[_Embedded]:
        """Embed the recordings among voices, in batches."""
        results: list[_Embedded | None] = []
        for voice in voices:
            if isinstance(voice, Enrollment):
                self._check_model(voice.model, f"{voice.name!r}")
                results.append(_Embedded(voice.vector, voice.recordings))
            elif sample_rate is None and not isinstance(voice, (str, Path, Recording)):
                vector = np.asarray(voice, dtype=np.float32)
                if vector.shape != (self.model.embed_dim,):
                    raise TidyVoiceError(
                        f"an array of shape {vector.shape} is not an embedding of "
                        f"{self.model.embed_dim} dimensions; give sample_rate if it holds samples"
                    )
                results.append(_Embedded(vector))
            else:
                results.append(None)
        sources = [voice for voice, result in zip(voices, results, strict=True) if result is None]
        with closing(self._stream(sources, sample_rate, channel)) as stream:
            embedded = (_Embedded(vector, 1, loaded.warnings) for loaded, vector in stream)
            return [next(embedded) if result is None else result for result in results]

    def _cosines(self, left: list[_Embedded], right: list[_Embedded]) -> np.ndarray:
        mean = None if self.verifier is None else self.verifier.mean
        first, second = (unit_length(_stacked(side), mean) for side in (left, right))
        return np.einsum("nd,nd->n", first, np.broadcast_to(second, first.shape))

    def _strangers(self, recordings: Sequence[Recording], vectors: np.ndarray) -> list[str]:
        """Report the recording that is least like the others, if it is of another speaker."""
        if self.verifier is None or len(recordings) < 2:
            return []
        rest = (vectors.sum(axis=0) - vectors) / np.float32(len(vectors) - 1)
        sides = (self.verifier.prepare(side) for side in (vectors, rest))
        scores = self.verifier.scores(*sides)
        worst = int(scores.argmin())
        result = self.verifier.decide(float(scores[worst]), recordings=len(recordings) - 1)
        if result.same_speaker:
            return []
        return [
            f"{recordings[worst].name} sounds like another speaker than the other recordings "
            f"(score {result.score:.2f}, threshold {result.threshold:.2f})"
        ]

    def _check_model(self, model: str | None, what: str) -> None:
        if model != self.weights:
            raise TidyVoiceError(f"{what} was enrolled with another model: enroll again")


def _stacked(voices: Sequence[_Embedded]) -> np.ndarray:
    return np.stack([voice.vector for voice in voices])
