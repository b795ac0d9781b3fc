"""Speaker embeddings of recordings and waveforms."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import torch

from tidyvoice.batch_plan import plan_batches, plan_items
from tidyvoice.distributed import choose_device
from tidyvoice.errors import NotFiniteError, TidyVoiceError, TidyVoiceWarning
from tidyvoice.frontends import FrontendSettings, frontend_of
from tidyvoice.headers import INT16_SCALE, SAMPLE_RATE
from tidyvoice.modelhub.folder import fingerprint
from tidyvoice.models.registry import EmbeddingModel, widest_frame
from tidyvoice.readahead import one_ahead, read_ahead
from tidyvoice.recordings import SHORTEST, Recording
from tidyvoice.verification.enrollment import Enrollment
from tidyvoice.verification.verifier import Verifier

# Precisions of the convolutions.
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
READING_THREADS = 4
AT_ONCE = 64  # recordings that are batched by length
AT_ONCE_SECONDS = 600.0  # or fewer recordings of this total duration
BATCH_FRAMES = 4000
LONGEST = 120.0  # seconds in one piece; its feature maps take 0.7 GB at full width on a CPU
AudioInput = str | Path | np.ndarray | Recording


class Embedder:
    """A model with its front end, in evaluation mode: no dither, no augmentation.

    Embeddings are raw: neither centred nor scaled to unit length.

    Args:
        settings: settings of the front end.
        trained_on: speakers of the model's training; None if unknown.
        precision: a key of ``PRECISIONS``. On CUDA, float32 convolutions use TF32 unless
            ``torch.backends.cudnn.allow_tf32`` is False.

    Attributes:
        weights: SHA-256 of the weights.
        inference: the copy of the model that embeds (see ``EmbeddingModel.for_inference``).
        fewest_frames: number of frames of the shortest utterance that it accepts.
        frame_bytes: bytes of one frame of the widest feature map.
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
            raise TidyVoiceError(f"no precision {precision}: use one of {', '.join(PRECISIONS)}")
        self.trained_on = trained_on
        self.weights = fingerprint(model, settings)
        self.device = choose_device(device)
        self.precision = precision
        self.model = model.to(self.device).eval()
        self.embed_dim = model.embed_dim
        self.inference = self.model.for_inference(PRECISIONS[precision])
        self.settings = settings
        self.frontend = frontend_of(self.model, settings).to(self.device).eval()
        width = widest_frame(self.inference, self.frontend.feature_dim, self.device)
        width *= getattr(self.inference, "extra_maps", 1)
        self.frame_bytes = width * PRECISIONS[precision].itemsize
        self.fewest_frames = self.inference.fewest_frames
        if verifier is not None and verifier.model != self.weights:
            # Extraction comes before fitting, and would be refused with the file still there.
            fix = "delete it, extract, and fit a new one with `tidyvoice fit-verifier`"
            raise TidyVoiceError(f"verifier.json belongs to another model: {fix}")
        self.verifier = verifier

    @torch.inference_mode()
    def start(self, samples: torch.Tensor) -> Callable[[], np.ndarray]:
        """Start to embed samples [B x S], int16 or float32 in -1..1.

        Returns:
            A function that waits for the embeddings float32 [B x D] and returns them. On CUDA, and
            with samples in pinned memory, nothing waits before it is called.
        """
        on_cuda = self.device.type == "cuda"
        waveforms = samples.to(self.device, non_blocking=on_cuda)
        if samples.dtype == torch.int16:
            waveforms = waveforms.float() / INT16_SCALE
        features = self.frontend(waveforms)
        frames, fewest = features.shape[1], self.fewest_frames
        if frames < fewest:
            problem = f"{frames} frames are fewer than the {fewest} that {self.precision} needs"
            raise TidyVoiceError(f"{problem}: use float32")
        embeddings = self.inference(features).to("cpu", non_blocking=on_cuda)
        copied = torch.cuda.Event() if on_cuda else None
        if copied:
            copied.record()

        def result() -> np.ndarray:
            if copied:
                copied.synchronize()
            demand_finite(embeddings.numpy(), frames, self.precision)
            return embeddings.numpy()

        return result

    def embed_waveforms(self, waveforms: np.ndarray) -> np.ndarray:
        """Embed waveforms float32 [B x S] in -1..1 at 16 kHz: raw embeddings float32 [B x D].

        Example:
            >>> encoder.embed_waveforms(np.zeros((2, 16000), np.float32)).shape
            (2, 16)
        """
        return self.start(torch.from_numpy(waveforms))()

    def embed_samples(self, samples: np.ndarray) -> np.ndarray:
        """Embed 16-bit samples int16 [B x S]: raw embeddings float32 [B x D]."""
        return self.start(torch.from_numpy(samples))()

    def embed(
        self,
        recording: AudioInput,
        sample_rate: int | None = None,
        channel: int = 0,
        start: float = 0.0,
        end: float | None = None,
    ) -> np.ndarray:
        """Embed a recording, or a segment of it: raw embedding float32 [D].

        Arguments and errors are those of ``Recording.load``; problems of quality give warnings.
        More than two minutes are cut into equal pieces, whose embeddings are averaged.

        Example:
            >>> encoder.embed("ann-1.wav", start=0.2, end=2.0).shape
            (16,)
        """
        loaded = Recording.load(recording, sample_rate, channel, start, end)
        warn(loaded.warnings)
        return self._embed([loaded])[0]

    def embed_windows(
        self,
        recording: AudioInput,
        window: float,
        step: float,
        sample_rate: int | None = None,
        channel: int = 0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Embed sliding windows of a recording (see ``embed``).

        ``window`` and ``step`` are length, 0.3 or more, and distance in seconds. What is left over
        at the end is dropped. A shorter recording is one window.

        Returns:
            Start of each window in seconds, float64 [N], and raw embeddings, float32 [N x D].

        Example:
            >>> starts, embeddings = encoder.embed_windows("ann-1.wav", window=1.0, step=0.5)
            >>> starts.tolist(), embeddings.shape
            ([0.0, 0.5, 1.0], (3, 16))
        """
        loaded = Recording.load(recording, sample_rate, channel)
        warn(loaded.warnings)
        size, hop = round(window * SAMPLE_RATE), round(step * SAMPLE_RATE)
        if size < SHORTEST * SAMPLE_RATE or hop < 1:
            sizes = f"window {window:g} s, step {step:g} s"
            raise TidyVoiceError(f"{sizes}: use {SHORTEST} s or more, and a step above 0")
        starts = np.arange(0, max(len(loaded.samples) - size, 0) + 1, hop)
        pieces = (loaded.samples[start : start + size] for start in starts)
        windows = [Recording(loaded.name, piece, 0.0) for piece in pieces]
        return starts / SAMPLE_RATE, np.stack(self._embed(windows))

    def embed_many(
        self, recordings: Iterable[AudioInput], sample_rate: int | None = None, channel: int = 0
    ) -> np.ndarray:
        """Embed N recordings (see ``embed``) in batches, reading ahead: float32 [N x D].

        Example:
            >>> encoder.embed_many(["ann-1.wav", "ann-2.wav", "bob-1.wav"]).shape
            (3, 16)
        """
        rows = self._embed_sources(recordings, sample_rate, channel)
        for row in rows:
            warn(row.warnings)
        return stack(rows)

    def _embed_sources(
        self, sources: Iterable[AudioInput], sample_rate: int | None, channel: int
    ) -> list[Enrollment]:
        """Embed recordings in order, without keeping their samples."""
        load = partial(Recording.load, sample_rate=sample_rate, channel=channel)
        loaded = read_ahead(load, sources, READING_THREADS, ahead=READING_THREADS)
        ahead, rows = one_ahead(_portions(loaded)), []
        with closing(loaded), closing(ahead):
            for recordings in ahead:
                for one, vector in zip(recordings, self._embed(recordings), strict=True):
                    facts = (1, one.seconds, self.weights, one.warnings)
                    rows.append(Enrollment(one.name, vector, *facts))
        return rows

    def _embed(self, recordings: Sequence[Recording]) -> list[np.ndarray]:
        """Embed recordings, those with equal numbers of frames together, without padding."""
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
        means = (
            np.average([vectors[item] for item in part], axis=0, weights=items.frames[part])
            for part in parts
        )
        return [mean.astype(np.float32) for mean in means]


def demand_finite(embeddings: np.ndarray, frames: int, precision: str) -> None:
    """Raise a ``NotFiniteError`` if embeddings [B x D] of ``frames`` frames are not finite."""
    broken = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if broken.size:
        text = f"the embedding of {frames} frames is not finite in {precision}"
        fix = "" if precision == "float32" else "use float32, or "
        raise NotFiniteError(int(broken[0]), f"{text}: {fix}check the weights of the model")


def _portions(loaded: Iterable[Recording]) -> Iterator[list[Recording]]:
    """Yield lists of ``AT_ONCE`` recordings, or fewer that last ``AT_ONCE_SECONDS``."""
    portion: list[Recording] = []
    for recording in loaded:
        portion.append(recording)
        if len(portion) == AT_ONCE or sum(item.seconds for item in portion) >= AT_ONCE_SECONDS:
            yield portion
            portion = []
    if portion:
        yield portion


def stack(rows: Sequence[Enrollment]) -> np.ndarray:
    """Return the vectors float32 [N x D]."""
    if not rows:
        raise TidyVoiceError("no recording to embed: give at least one")
    return np.stack([row.vector for row in rows])


def warn(messages: Iterable[str]) -> None:
    """Issue a warning for each message, as of the caller's caller."""
    for message in messages:
        warnings.warn(message, TidyVoiceWarning, stacklevel=3)
