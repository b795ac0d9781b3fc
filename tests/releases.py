"""A released model as WeSpeaker's train.py leaves it, in the layout of the challenge's baseline."""

from pathlib import Path

import torch
import yaml
from torch import nn

CONFIG = """
dataset_args:
  aug_prob: 0.3
  cmvn: true
  cmvn_args: {norm_mean: true, norm_var: false}
  fbank_args: {dither: 1.0, frame_length: 25, frame_shift: 10, num_mel_bins: 80}
  frontend: fbank
  resample_rate: 16000
gpus: [0, 1]
model: SimAM_ResNet34_ASP
projection_args: {easy_margin: false, project_type: arc_margin, scale: 32.0, num_class: 7}
"""


def published_config(in_planes: int, embed_dim: int) -> dict:
    """Return the config.yaml of a network of this size."""
    arguments = {"acoustic_dim": 80, "embed_dim": embed_dim, "in_planes": in_planes}
    return yaml.safe_load(CONFIG) | {"model_args": arguments}


def write_release(folder: Path, model: nn.Module, in_planes: int, embed_dim: int) -> Path:
    """Write models/avg_model.pt, with the weights of its classifier, and config.yaml."""
    (folder / "models").mkdir(parents=True)
    state = {**model.state_dict(), "projection.weight": torch.zeros(7, embed_dim)}
    torch.save(state, folder / "models" / "avg_model.pt")
    (folder / "config.yaml").write_text(yaml.dump(published_config(in_planes, embed_dim)))
    return folder
