"""Poolings, which turn a sequence of frames into one vector for each utterance.

Their names are WeSpeaker's. They take frames [B x C x T], or maps [B x C x F x T] as frames
[B x CF x T], with B utterances, T frames, C channels of a frame and F rows of a map. Most return
means, then standard deviations. These are computed in float32, also for half-precision frames:
E[x^2] - E[x]^2 cancels badly.
"""

from collections import OrderedDict
from typing import Annotated

import torch
from pydantic import AfterValidator
from torch import Tensor, nn

from tidyvoice.models.registry import demand_multiple
from tidyvoice.settings.registry import Registry

ASP_VARIANCE_FLOOR = 1e-5
VARIANCE_FLOOR = 1e-7


class Pooling(nn.Module):
    """A module that maps frames [B x C x T], or maps, to vectors [B x out_dim].

    Its first argument is C, or CF for maps.
    """

    out_dim: int


POOLINGS: Registry[type[Pooling]] = Registry("pooling")
PoolingName = Annotated[str, AfterValidator(POOLINGS.check_name)]


def build_pooling(name: str, in_dim: int, global_context: bool = False) -> Pooling:
    """Build a pooling of frames with ``in_dim`` channels; ``global_context`` is ASTP's."""
    settings = {"global_context_att": True} if global_context and name == "ASTP" else {}
    return POOLINGS.build(name, in_dim, **settings)


@POOLINGS.register("ASP")
class AttentiveStatisticsPooling(Pooling):
    """Mean and standard deviation over time, weighted by attention, one weight a channel and frame.

    Okabe, Koshinaka, Shinoda: Attentive Statistics Pooling for Deep Speaker Embedding,
    Interspeech 2018, equations 3 to 5, with channel-wise attention.
    """

    def __init__(self, in_dim: int, hidden: int = 128):
        super().__init__()
        self.attention = nn.Sequential(
            nn.Conv1d(in_dim, hidden, kernel_size=1),
            nn.ReLU(),
            nn.BatchNorm1d(hidden),
            nn.Conv1d(hidden, in_dim, kernel_size=1),
            nn.Softmax(dim=2),
        )
        self.out_dim = 2 * in_dim

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            x = x.flatten(1, -2).to(self.attention[0].weight.dtype)
            return _weighted_statistics(x, self.attention(x), ASP_VARIANCE_FLOOR)


@POOLINGS.register("TSTP")
class TSTP(Pooling):
    """Mean and unbiased standard deviation over time: temporal statistics pooling.

    Snyder, Garcia-Romero, Sell, Povey, Khudanpur: X-vectors: Robust DNN Embeddings for Speaker
    Recognition, ICASSP 2018.
    """

    def __init__(self, in_dim: int):
        super().__init__()
        self.out_dim = 2 * in_dim

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(_statistics(x.flatten(1, -2)), dim=1).flatten(1)


@POOLINGS.register("ASTP")
class ASTP(Pooling):
    """Mean and standard deviation over time, weighted by attention: one weight a channel and frame.

    Okabe, Koshinaka, Shinoda: Attentive Statistics Pooling for Deep Speaker Embedding,
    Interspeech 2018. The global context shows the attention the statistics of the whole utterance
    in each frame: Desplanques, Thienpondt, Demuynck: ECAPA-TDNN, Interspeech 2020, section 3.1.
    """

    def __init__(self, in_dim: int, global_context_att: bool = False, hidden: int = 128):
        super().__init__()
        self.global_context_att = global_context_att
        self.linear1 = nn.Conv1d(3 * in_dim if global_context_att else in_dim, hidden, 1)
        self.linear2 = nn.Conv1d(hidden, in_dim, 1)
        self.out_dim = 2 * in_dim

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1, -2)
        context = x
        if self.global_context_att:
            context = torch.cat([x, *(value.expand_as(x) for value in _statistics(x))], dim=1)
        weights = self.linear2(self.linear1(context).tanh()).softmax(dim=2)
        return _weighted_statistics(x, weights)


@POOLINGS.register("MQMHASTP")
class MQMHASTP(Pooling):
    """Several attentive statistics poolings of every part of the channels.

    Zhao, Ma, Ding, Zheng, Liu, Xu: Multi-query Multi-head Attention Pooling and Inter-topK Penalty
    for Speaker Verification, ICASSP 2022. A head is a part of the channels; each query weights the
    frames of every head anew. As in WeSpeaker, each channel of a head has a weight of its own. The
    output is query after query, in it head after head, of each its means, then deviations.
    """

    def __init__(self, in_dim: int, queries: int = 2, heads: int = 8, hidden: int = 64):
        super().__init__()
        demand_multiple(in_dim, heads, "channels of frames", "MQMHASTP")
        self.n_query = nn.ModuleList(_Query(in_dim // heads, heads, hidden) for _ in range(queries))
        self.out_dim = 2 * queries * in_dim

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1, -2)
        return torch.cat([query(x) for query in self.n_query], dim=1)


class _Query(nn.Module):
    """Attention of one query: frames [B x C x T] to statistics [B x 2C] of its heads."""

    def __init__(self, head_dim: int, heads: int, hidden: int):
        super().__init__()
        self.heads_att_trans = nn.ModuleList()
        for _ in range(heads):
            layers = OrderedDict(att_0=nn.Conv1d(head_dim, hidden, 1), tanh=nn.Tanh())
            layers |= OrderedDict(att_1=nn.Conv1d(hidden, head_dim, 1), softmax=nn.Softmax(dim=2))
            self.heads_att_trans.append(nn.Sequential(layers))

    def forward(self, x: Tensor) -> Tensor:
        heads = self.heads_att_trans
        parts = zip(heads, x.chunk(len(heads), dim=1), strict=True)
        weights = torch.cat([head(part) for head, part in parts], dim=1)
        statistics = _weighted_statistics(x, weights).unflatten(1, (2, len(heads), -1))
        return statistics.transpose(1, 2).flatten(1)


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return means and unbiased standard deviations [B x C x 1] of frames [B x C x T].

    A single frame has no unbiased variance; it counts as zero.
    """
    value, frames = x.float(), x.shape[2]
    mean = value.mean(dim=2, keepdim=True)
    variance = value.var(dim=2, correction=0, keepdim=True) * frames / max(frames - 1, 1)
    return mean.to(x.dtype), (variance + VARIANCE_FLOOR).sqrt().to(x.dtype)


def _weighted_statistics(x: Tensor, weights: Tensor, floor: float = VARIANCE_FLOOR) -> Tensor:
    """Return means, then standard deviations [B x 2C], of frames and their weights [B x C x T]."""
    value = x.float()
    weighted = weights.float() * value
    mean = weighted.sum(dim=2)
    variance = (weighted * value).sum(dim=2) - mean.square()
    return torch.cat([mean, variance.clamp(min=floor).sqrt()], dim=1).to(x.dtype)
