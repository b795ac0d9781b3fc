"""Speaker embeddings of recordings, and decisions on them."""

from tidyvoice.encoder.speaker_encoder import SpeakerEncoder

__all__ = ["SpeakerEncoder"]
