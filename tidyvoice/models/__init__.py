"""Speaker embedding models, built by the names and arguments of a WeSpeaker ``config.yaml``."""

from typing import Any

# Each module registers its networks when it is imported.
from tidyvoice.models import campplus, ecapa_tdnn, redimnet, resnet, simam_resnet  # noqa: F401
from tidyvoice.models.registry import MODELS, EmbeddingModel

__all__ = ["MODELS", "EmbeddingModel", "build_model"]


def build_model(name: str, *, acoustic_dim: int = 80, **args: Any) -> EmbeddingModel:
    """Build a model that maps features [B x T x acoustic_dim] to embeddings [B x embed_dim].

    ``feat_dim``, as some of WeSpeaker's networks call it, is accepted for ``acoustic_dim`` as well.
    The other arguments are the settings of the model, see its class.
    """
    return MODELS.build(name, args.pop("feat_dim", acoustic_dim), **args)
