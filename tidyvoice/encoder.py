"""A speaker encoder: a model with its front end and its verifier."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import torch

from tidyvoice.batch_plan import plan_batches, plan_items
from tidyvoice.device import choose_device
from tidyvoice.enrolment import NOBODY, Enrolment, Gallery, Identification
from tidyvoice.errors import NotFiniteError, TidyVoiceError, TidyVoiceWarning
from tidyvoice.frontends import FrontendSettings
from tidyvoice.headers import INT16_SCALE, SAMPLE_RATE
from tidyvoice.model_files import VERIFIER_FILE
from tidyvoice.modelhub.folder import (
    fingerprint,
    load_model,
    model_files,
    model_folder,
    training_speakers,
)
from tidyvoice.models import EmbeddingModel, frontend_of
from tidyvoice.models.registry import widest_frame
from tidyvoice.readahead import one_ahead, read_ahead
from tidyvoice.recordings import Recording
from tidyvoice.verifier import Verification, Verifier, directions, log_odds

# What the convolutions compute in.
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
READING_THREADS = 4
AT_ONCE = 64  # recordings whose equal lengths are looked for
AT_ONCE_SECONDS = 600.0  # or fewer, where they last this long together
BATCH_FRAMES = 4000
LONGEST = 120.0  # seconds at once, whose maps take 0.7 GB at full width on a CPU
Source = str | Path | np.ndarray | Recording


class SpeakerEncoder:
    """Recordings to speaker embeddings, and to the decision whether two are of one person.

    In evaluation mode: no dither, no augmentation. Embeddings are raw: not centred, not normalised.

    Args:
        model: maps features [B x T x F] to embeddings [B x D].
        settings: of the front end.
        device: what to compute on.
        trained_on: the speakers that the model was trained on, where known.
        verifier: what its scores mean, where known.
        precision: a key of ``PRECISIONS``. On CUDA, torch rounds what float32 convolutions take to
            TF32 unless ``torch.backends.cudnn.allow_tf32`` is False.

    Attributes:
        frontend: computes the features.
        weights: SHA-256 of the weights.
        inference: the copy of the model that embeds (see ``EmbeddingModel.for_inference``).

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
        if precision not in PRECISIONS:
            raise TidyVoiceError(f"no precision {precision}: there are {', '.join(PRECISIONS)}")
        self.trained_on = trained_on
        self.weights = fingerprint(model)
        self.verifier = verifier
        self.device = choose_device(device)
        self.precision = precision
        self.model = model.to(self.device).eval()
        self._check_verifier()
        self.inference = self.model.for_inference(PRECISIONS[precision])
        self.settings = settings
        self.frontend = frontend_of(self.model, settings).to(self.device).eval()
        width = widest_frame(self.inference, self.frontend.feature_dim, self.device)
        width *= getattr(self.inference, "extra_maps", 1)
        self.frame_bytes = width * PRECISIONS[precision].itemsize

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        device: str = "auto",
        revision: str = "main",
        precision: str = "float32",
    ) -> "SpeakerEncoder":
        """The encoder of a model folder, or of a Hugging Face repository.

        Args:
            source: a folder, or OWNER/NAME where there is no such folder.
            device: "auto", "cpu", "cuda", "cuda:1" or "mps".
            revision: commit, tag or branch of a repository.
            precision: of the convolutions, "float32" or "bfloat16".

        Raises:
            TidyVoiceError: see ``hub.load_model`` and ``huggingface.download``; a verifier of
                another model, or of other dimensions, lies in the folder.

        Example:
            >>> from tidyvoice import SpeakerEncoder
            >>> SpeakerEncoder.from_pretrained("model", device="cpu").frontend.feature_dim
            80
        """
        folder = model_folder(source, revision)
        model, settings = load_model(folder)
        verifier = Verifier.load(model_files(folder).folder)
        made = cls(model, settings, device, training_speakers(folder), None, precision)
        made.verifier = verifier
        try:
            made._check_verifier()
        except TidyVoiceError as error:
            raise TidyVoiceError(f"{folder}: {error}") from None
        return made

    def _check_verifier(self) -> None:
        if self.verifier is None:
            return
        # Not "fit it again" alone: that takes embeddings, which this model shall make first.
        mend = f"delete {VERIFIER_FILE}, extract, and fit one with `tidyvoice fit-verifier`"
        if self.verifier.model != self.weights:
            raise TidyVoiceError(f"the verifier is of another model: {mend}")
        found, wanted = len(self.verifier.mean), getattr(self.model, "embed_dim", None)
        if wanted is not None and found != wanted:
            raise TidyVoiceError(
                f"the verifier's mean has {found} dimensions, embeddings have {wanted}: {mend}"
            )

    @property
    def fewest_frames(self) -> int:
        """The shortest utterance that the model takes in this precision."""
        return self.inference.fewest_frames

    @torch.inference_mode()
    def embed_waveforms(self, waveforms: np.ndarray) -> np.ndarray:
        """Raw embeddings float32 [B x D] of waveforms float32 [B x S] in -1..1 at 16 kHz.

        Raises:
            TidyVoiceError: shorter than ``fewest_frames``, or an embedding is not finite.

        Example:
            >>> import numpy as np
            >>> from tidyvoice import SpeakerEncoder
            >>> encoder = SpeakerEncoder.from_pretrained("model", device="cpu")
            >>> encoder.embed_waveforms(np.zeros((2, 16000), np.float32)).shape
            (2, 16)
        """
        features = self.frontend(torch.from_numpy(waveforms).to(self.device))
        frames = features.shape[1]
        if frames < self.fewest_frames:
            raise TidyVoiceError(
                f"{frames} frames are fewer than the {self.fewest_frames} that {self.precision} "
                "needs: use float32"
            )
        embeddings = self.inference(features).cpu().numpy()
        demand_finite(embeddings, frames, self.precision)
        return embeddings

    def embed_samples(self, samples: np.ndarray) -> np.ndarray:
        """The same of 16-bit samples int16 [B x S]."""
        return self.embed_waveforms(samples.astype(np.float32) / INT16_SCALE)

    def embed(
        self, recording: Source, sample_rate: int | None = None, channel: int = 1
    ) -> np.ndarray:
        """The raw embedding float32 [D] of a recording.

        One over two minutes is cut into equal pieces, whose embeddings are averaged.

        Args:
            recording, sample_rate, channel: see ``Recording.load``.

        Raises:
            TidyVoiceError: see ``Recording.load``.

        Warns:
            TidyVoiceWarning: it is clipped, or holds little speech.

        Example:
            >>> import soundfile
            >>> from tidyvoice import SpeakerEncoder
            >>> encoder = SpeakerEncoder.from_pretrained("model", device="cpu")
            >>> samples, rate = soundfile.read("ann-1.wav")
            >>> bool((encoder.embed(samples, rate) == encoder.embed("ann-1.wav")).all())
            True
        """
        heard = Recording.load(recording, sample_rate, channel)
        _warn(heard.warnings)
        return self._embed([heard])[0]

    def embed_many(
        self, recordings: Iterable[Source], sample_rate: int | None = None, channel: int = 1
    ) -> np.ndarray:
        """The raw embeddings float32 [N x D] of N recordings, read while others are computed.

        Raises, warns: as ``embed``.

        Example:
            >>> from tidyvoice import SpeakerEncoder
            >>> encoder = SpeakerEncoder.from_pretrained("model", device="cpu")
            >>> encoder.embed_many(["ann-1.wav", "ann-2.wav", "bob-1.wav"]).shape
            (3, 16)
        """
        rows = []
        loaded = read_ahead(
            lambda source: Recording.load(source, sample_rate, channel),
            recordings,
            READING_THREADS,
            ahead=READING_THREADS,
        )
        coming = one_ahead(_portions(loaded))
        with closing(loaded), closing(coming):
            for heard in coming:
                for recording in heard:
                    _warn(recording.warnings)
                rows += self._embed(heard)
        if not rows:
            raise TidyVoiceError("no recording to embed: give at least one")
        return np.stack(rows)

    def _embed(self, recordings: Sequence[Recording]) -> list[np.ndarray]:
        """Embeddings in order; equally many frames are computed together, nothing is padded."""
        frontend = self.frontend
        lengths = np.array([len(recording.samples) for recording in recordings])
        longest = frontend.num_frames(round(LONGEST * SAMPLE_RATE))
        items = plan_items(np.arange(len(recordings)), lengths, frontend, longest)
        vectors: list[np.ndarray] = [np.empty(0)] * len(items)
        for batch in plan_batches(items.frames, BATCH_FRAMES):
            count = frontend.num_samples(int(items.frames[batch[0]]))
            samples = [
                recordings[items.rows[item]].samples[frontend.frame_shift * start :][:count]
                for item, start in zip(batch, items.starts[batch], strict=True)
            ]
            try:
                embeddings = self.embed_waveforms(np.stack(samples))
            except NotFiniteError as error:
                name = recordings[items.rows[batch[error.row]]].name
                raise TidyVoiceError(f"{name}: {error}") from None
            for item, vector in zip(batch, embeddings, strict=True):
                vectors[item] = vector
        parts = np.split(np.arange(len(items)), items.firsts[1:])
        return [
            np.average([vectors[item] for item in part], axis=0, weights=items.frames[part]).astype(
                np.float32
            )
            for part in parts
        ]

    def verify(
        self,
        one: Source | Enrolment,
        other: Source | Enrolment,
        prior: float = 0.5,
        sample_rate: int | None = None,
        channel: int | tuple[int, int] = 1,
    ) -> Verification:
        """Whether two recordings are of one person.

        Args:
            one, other: recordings, see ``Recording.load``; or an enrolled speaker.
            prior: the probability of one person before they were heard. With costs c_miss and c_fa
                of the two errors, give p c_miss / (p c_miss + (1 - p) c_fa).
            sample_rate: of both.
            channel: of both, or one for each.

        Raises:
            TidyVoiceError: see ``Recording.load``; the enrolment is of another model; the prior is
                not between 0 and 1.

        Example:
            >>> from tidyvoice import SpeakerEncoder
            >>> encoder = SpeakerEncoder.from_pretrained("model", device="cpu")
            >>> encoder.verify("ann-1.wav", "ann-2.wav").same_speaker
            True
        """
        log_odds(prior)
        vectors, said = [], []
        channels = channel if isinstance(channel, tuple) else (channel, channel)
        for side, which in zip((one, other), channels, strict=True):
            if isinstance(side, Enrolment):
                self._refuse_another(side.model, f"{side.name!r}")
                vectors.append(side.vector)
                continue
            heard = Recording.load(side, sample_rate, which)
            said += heard.warnings
            vectors.append(self._embed([heard])[0])
        if self.verifier is None:
            units = directions(np.stack(vectors))
            score = float(units[0] @ units[1])
            return Verification(score, None, None, None, None, prior, tuple(said))
        units = self.verifier.directions(np.stack(vectors))
        return self.verifier.decide(float(units[0] @ units[1]), prior, tuple(said))

    def enrol(
        self,
        name: str,
        recordings: Sequence[Source],
        sample_rate: int | None = None,
        channel: int = 1,
    ) -> Enrolment:
        """A speaker from recordings of theirs: the mean of the raw embeddings.

        Raises:
            TidyVoiceError: no name, or no recording; see ``Recording.load``.

        Warns:
            TidyVoiceWarning: a recording is clipped, holds little speech, or sounds like another
                speaker than the rest of them (where the model has a verifier).

        Example:
            >>> from tidyvoice import SpeakerEncoder
            >>> encoder = SpeakerEncoder.from_pretrained("model", device="cpu")
            >>> encoder.enrol("Ann", ["ann-1.wav", "ann-2.wav"]).recordings
            2
        """
        name = name.strip()
        if not name:
            raise TidyVoiceError("a speaker without a name cannot be found again: give one")
        heard = [Recording.load(recording, sample_rate, channel) for recording in recordings]
        vectors = self.embed_many(heard)
        _warn(self._stranger(heard, vectors))
        mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        return Enrolment(name, mean, len(heard), sum(one.seconds for one in heard), self.weights)

    def identify(
        self,
        recording: Source,
        gallery: Gallery,
        false_alarm: float = 0.01,
        top: int = 5,
        sample_rate: int | None = None,
        channel: int = 1,
    ) -> Identification:
        """Who of the enrolled speakers it is, if any.

        Corpora forbid this for their speakers: see ``tidyvoice.terms.IDENTIFICATION``.

        Args:
            false_alarm: target rate of strangers taken for anybody in the gallery. The threshold
                follows from the non-target scores that the verifier was fitted to, and from how
                many are enrolled: for another kind of speech, fit the verifier again.
            top: how many candidates to name.

        Raises:
            TidyVoiceError: the model carries no verifier, nobody is enrolled, or with another
                model; ``top`` is below 1; see ``Recording.load``.

        Example:
            >>> from tidyvoice import Gallery, SpeakerEncoder
            >>> encoder = SpeakerEncoder.from_pretrained("model", device="cpu")
            >>> ann, bob = (encoder.enrol(name, [f"{name}-1.wav"]) for name in ("ann", "bob"))
            >>> encoder.identify("bob-2.wav", Gallery([ann, bob]), false_alarm=0.2).name
            'bob'
        """
        if self.verifier is None:
            raise TidyVoiceError(
                "the model carries no verifier, so that no threshold is known: fit one with "
                "`tidyvoice fit-verifier`"
            )
        if not len(gallery):
            raise TidyVoiceError(NOBODY)
        self._refuse_another(gallery.model, "the gallery")
        threshold = self.verifier.distribution.threshold(false_alarm, len(gallery))
        heard = Recording.load(recording, sample_rate, channel)
        candidates = gallery.nearest(self._embed([heard])[0], self.verifier, top)
        name = candidates[0].name if candidates[0].score >= threshold else None
        said = heard.warnings
        if threshold >= 1:
            trials = sum(self.verifier.distribution.nontarget)
            said += (
                f"the threshold is 1, so that nobody can be found: {trials:,} non-target trials do "
                f"not tell a false-alarm rate of {false_alarm:g} among {len(gallery):,} voices; "
                "fit the verifier on more trials, or ask for a larger one (false_alarm, "
                "--false-alarm)",
            )
        fitted_to = self.verifier.fitted_to
        return Identification(name, candidates, threshold, false_alarm, fitted_to, said)

    def _stranger(self, recordings: Sequence[Recording], vectors: np.ndarray) -> list[str]:
        """A line for the recording that is least like the others, if it is of another speaker."""
        if self.verifier is None or len(recordings) < 2:
            return []
        rest = (vectors.sum(axis=0) - vectors) / np.float32(len(vectors) - 1)
        units, others = self.verifier.directions(vectors), self.verifier.directions(rest)
        scores = (units * others).sum(axis=1)
        worst = int(scores.argmin())
        found = self.verifier.decide(float(scores[worst]))
        if found.same_speaker:
            return []
        return [
            f"{recordings[worst].name} sounds like another speaker than the rest (score "
            f"{found.score:.2f}, threshold {found.threshold:.2f})"
        ]

    def _refuse_another(self, model: str | None, what: str) -> None:
        if model != self.weights:
            raise TidyVoiceError(
                f"{what} was enrolled with another model: enrol again with this one"
            )


def demand_finite(embeddings: np.ndarray, frames: int, precision: str) -> None:
    """Check embeddings [B x D] of utterances of so many frames.

    Raises:
        NotFiniteError: a row holds NaN or infinity.
    """
    broken = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if broken.size:
        other = "" if precision == "float32" else "use float32, or "
        raise NotFiniteError(
            int(broken[0]),
            f"the embedding of {frames} frames is not finite in {precision}: {other}check the "
            "weights of the model",
        )


def _portions(loaded: Iterable[Recording]) -> Iterator[list[Recording]]:
    """Lists of up to ``AT_ONCE`` recordings, shorter where they hold ``AT_ONCE_SECONDS``."""
    portion: list[Recording] = []
    for recording in loaded:
        portion.append(recording)
        seconds = sum(one.seconds for one in portion)
        if len(portion) == AT_ONCE or seconds >= AT_ONCE_SECONDS:
            yield portion
            portion = []
    if portion:
        yield portion


def _warn(said: Iterable[str]) -> None:
    for line in said:
        warnings.warn(line, TidyVoiceWarning, stacklevel=3)
