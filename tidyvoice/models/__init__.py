"""Speaker embedding models, built by the names and arguments of a WeSpeaker ``config.yaml``."""

from torch import nn

from tidyvoice.errors import TidyVoiceError
from tidyvoice.models.simam_resnet import HE_ZERO_GAMMA, SimAMResNetASP

NUM_BLOCKS = {
    "SimAM_ResNet34_ASP": (3, 4, 6, 3),
    "SimAM_ResNet100_ASP": (6, 16, 24, 3),
    "SimAM_ResNet293_ASP": (10, 20, 64, 3),
}
INIT_SCHEMES = (HE_ZERO_GAMMA, "torch")


def build_model(
    name: str,
    in_planes: int = 64,
    embed_dim: int = 256,
    acoustic_dim: int = 80,
    init_scheme: str = HE_ZERO_GAMMA,
) -> nn.Module:
    """A model that maps features [B x T x acoustic_dim] to embeddings [B x embed_dim].

    Args:
        name: a key of ``NUM_BLOCKS``.
        in_planes: channels of the first stage.
        init_scheme: how a new model's weights start. ``he_zero_gamma``: convolutions as He et al.
            do, and zero for the last batch norm of each block. ``torch``: torch's defaults, as in
            the published networks.

    Raises:
        TidyVoiceError: no such model or scheme.

    Example:
        >>> import torch
        >>> model = build_model("SimAM_ResNet34_ASP", in_planes=8, embed_dim=64).eval()
        >>> model(torch.zeros(2, 100, 80)).shape
        torch.Size([2, 64])
    """
    if name not in NUM_BLOCKS:
        raise TidyVoiceError(f"no model is called {name!r}: take one of {', '.join(NUM_BLOCKS)}")
    if init_scheme not in INIT_SCHEMES:
        raise TidyVoiceError(f"init_scheme is {init_scheme!r}: take {' or '.join(INIT_SCHEMES)}")
    return SimAMResNetASP(in_planes, embed_dim, acoustic_dim, NUM_BLOCKS[name], init_scheme)
