"""The speaker encoder: embeddings of recordings, and decisions about their speakers."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import numpy as np

from tidyvoice.encoder.embedder import AudioInput, Embedder, stack, warn
from tidyvoice.errors import TidyVoiceError
from tidyvoice.modelhub.folder import load_model, model_files, model_folder, training_speakers
from tidyvoice.recordings import Recording
from tidyvoice.scoring.backend import Backend
from tidyvoice.verification.enrollment import Enrollment, Gallery, Identification
from tidyvoice.verification.verifier import Verification, Verifier, log_odds

Voice = AudioInput | Enrollment
Side = Voice | Sequence[Voice]


class SpeakerEncoder(Embedder):
    """A model with its front end and, if there is one, its verifier. Arguments: see ``Embedder``.

    Example:
        >>> from tidyvoice import SpeakerEncoder
        >>> encoder = SpeakerEncoder.from_pretrained("model", device="cpu")
        >>> encoder.verify("ann-1.wav", "bob-1.wav").same_speaker
        False
    """

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

        Example:
            >>> from tidyvoice import SpeakerEncoder
            >>> SpeakerEncoder.from_pretrained("model", device="cpu").frontend.feature_dim
            80
        """
        folder = model_folder(source, revision)
        model, settings = load_model(folder)
        verifier = Verifier.load(model_files(folder).folder)
        return cls(model, settings, device, training_speakers(folder), verifier, precision)

    def similarity(
        self, one: Side, other: Side, sample_rate: int | None = None, channel: int = 0
    ) -> float | np.ndarray:
        """Return the cosine of the embeddings, centred if there is a verifier.

        The arguments are those of ``verify``. The result is an array [N] if a side is a list.

        Example:
            >>> ann, bob = encoder.similarity(["ann-1.wav", "bob-1.wav"], "ann-2.wav")
            >>> bool(ann > bob)
            True
        """
        left, right, several = self._sides(one, other, sample_rate, channel)
        cosines = self._cosines(left, right)
        return cosines if several else float(cosines[0])

    def verify(
        self,
        one: Side,
        other: Side,
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
            sample_rate, channel: rate of arrays that are recordings, and channel of all recordings.

        Returns:
            The result, or a list of results if a side is a list.

        Example:
            >>> results = encoder.verify("ann-1.wav", ["ann-2.wav", "bob-1.wav"])
            >>> [result.same_speaker for result in results]
            [True, False]
        """
        log_odds(prior)
        left, right, several = self._sides(one, other, sample_rate, channel)
        if self.verifier is None:
            scores = self._cosines(left, right)
        else:
            sides = (self.verifier.prepare(stack(side)) for side in (left, right))
            scores = self.verifier.scores(*sides)
        results = []
        for score, first, second in zip(scores.tolist(), left, cycle(right), strict=False):
            warnings = first.warnings + second.warnings
            if self.verifier is None:
                same = None if threshold is None else score > threshold
                result = Verification(score, None, None, same, threshold, prior, warnings)
            else:
                recordings = max(first.recordings, second.recordings)
                result = self.verifier.decide(score, prior, warnings, recordings, threshold)
            results.append(result)
        return results if several else results[0]

    def enroll(
        self,
        name: str,
        recordings: Sequence[AudioInput],
        sample_rate: int | None = None,
        channel: int = 0,
    ) -> Enrollment:
        """Enroll a speaker by the mean of the raw embeddings of their recordings (see ``embed``).

        With a verifier, a recording that sounds like another speaker than the others gives a
        warning.

        Example:
            >>> encoder.enroll("Ann", ["ann-1.wav", "ann-2.wav"]).recordings
            2
        """
        name = name.strip()
        if not name:
            raise TidyVoiceError("the name of a speaker is empty: give one")
        rows = self._embed_sources(recordings, sample_rate, channel)
        vectors = stack(rows)
        for row in rows:
            warn(row.warnings)
        if self.verifier is not None and len(rows) > 1:
            rest = (vectors.sum(axis=0) - vectors) / np.float32(len(rows) - 1)
            scores = self.verifier.scores(*map(self.verifier.prepare, (vectors, rest)))
            worst = int(scores.argmin())
            result = self.verifier.decide(float(scores[worst]), recordings=len(rows) - 1)
            if not result.same_speaker:
                text = "sounds like another speaker than the other recordings"
                numbers = f"score {result.score:.2f}, threshold {result.threshold:.2f}"
                warn([f"{rows[worst].name} {text} ({numbers})"])
        mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        return Enrollment(name, mean, len(rows), sum(row.seconds for row in rows), self.weights)

    enrol = enroll

    def identify(
        self,
        recording: AudioInput | Sequence[AudioInput],
        gallery: Gallery,
        false_alarm: float = 0.01,
        top: int = 5,
        sample_rate: int | None = None,
        channel: int = 0,
    ) -> Identification | list[Identification]:
        """Find the speaker of a recording among the enrolled ones, or reject it.

        The terms of some corpora forbid this for their speakers: see
        ``tidyvoice.verification.IDENTIFICATION``.

        Args:
            recording: a recording, see ``Recording.load``, or a list of them.
            false_alarm: target rate of unknown speakers who are accepted as anybody in the
                gallery, for speech like that to which the verifier was fitted.
            top: number of candidates.

        Returns:
            The result, or a list of results for a list of recordings.

        Example:
            >>> ann, bob = (encoder.enroll(name, [f"{name}-1.wav"]) for name in ("ann", "bob"))
            >>> encoder.identify("bob-2.wav", Gallery([ann, bob]), false_alarm=0.2).name
            'bob'
        """
        if self.verifier is None:
            raise TidyVoiceError("the model has no verifier: `tidyvoice fit-verifier` writes one")
        for speaker in gallery:
            self._check_model(speaker)
        several = isinstance(recording, (list, tuple))
        rows = self._embed_sources(recording if several else [recording], sample_rate, channel)
        nearest, results = gallery.nearest(stack(rows), self.verifier, top), []
        for row, candidates in zip(rows, nearest, strict=True):
            first, warnings = candidates[0], row.warnings
            fitted = self.verifier.scale(first.recordings).distribution
            threshold = fitted.threshold(false_alarm, len(gallery))
            if threshold >= fitted.span[1]:
                few = f"{sum(fitted.nontarget):,} non-target trials are too few"
                aim = f"a false-alarm rate of {false_alarm:g} among {len(gallery):,} speakers"
                warnings += (f"nobody can be found: {few} for {aim}; fit the verifier to more",)
            name = first.name if first.score >= threshold else None
            facts = (threshold, false_alarm, self.verifier.fitted_to, warnings)
            results.append(Identification(name, candidates, *facts))
        return results if several else results[0]

    def _sides(
        self, one: Side, other: Side, sample_rate: int | None, channel: int
    ) -> tuple[list[Enrollment], list[Enrollment], bool]:
        """Embed two sides, the longer one first; tell if one is a list."""
        sides, several = [], False
        for side in (one, other):
            table = isinstance(side, np.ndarray) and side.ndim == 2 and sample_rate is None
            listed = table or isinstance(side, (list, tuple))
            voices = list(side) if listed else [side]
            rows = [self._as_enrollment(voice, sample_rate) for voice in voices]
            sources = [voice for voice, row in zip(voices, rows, strict=True) if row is None]
            embedded = iter(self._embed_sources(sources, sample_rate, channel))
            sides.append([next(embedded) if row is None else row for row in rows])
            several = several or listed
        left, right = sorted(sides, key=len, reverse=True)
        if len(right) not in (1, len(left)):
            sizes = f"{len(sides[0])} voices against {len(sides[1])}"
            raise TidyVoiceError(f"{sizes}: give lists of equal length, or a single voice")
        return left, right, several

    def _as_enrollment(self, voice: Voice, sample_rate: int | None) -> Enrollment | None:
        """Return an enrolment, or an embedding as one; None for a recording."""
        if isinstance(voice, Enrollment):
            self._check_model(voice)
            return voice
        if sample_rate is not None or isinstance(voice, (str, Path, Recording)):
            return None
        if np.shape(voice) != (self.embed_dim,):
            size = f"{np.shape(voice)} is not an embedding of {self.embed_dim} dimensions"
            raise TidyVoiceError(f"an array of shape {size}; give sample_rate if it holds samples")
        return Enrollment("", np.asarray(voice, dtype=np.float32), 1, 0.0)

    def _cosines(self, left: list[Enrollment], right: list[Enrollment]) -> np.ndarray:
        backend = self.verifier.backend if self.verifier else Backend()
        first, second = (backend.centre(stack(side)) for side in (left, right))
        return np.einsum("nd,nd->n", first, np.broadcast_to(second, first.shape))

    def _check_model(self, speaker: Enrollment) -> None:
        if speaker.model != self.weights:
            raise TidyVoiceError(f"{speaker.name!r} was enrolled with another model: enroll again")
