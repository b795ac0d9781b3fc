"""A released model as WeSpeaker's train.py leaves it, in the layout of the challenge's baseline."""

from pathlib import Path

import torch
import yaml
from torch import nn

SPEAKERS = 7  # classes of the training
# The values of the published fine-tuning.
CONFIG = """
data_type: shard
dataloader_args: {batch_size: 24, drop_last: true, num_workers: 8}
dataset_args:
  aug_prob: 0.3
  cmvn: true
  cmvn_args: {norm_mean: true, norm_var: false}
  fbank_args: {dither: 1.0, frame_length: 25, frame_shift: 10, num_mel_bins: 80}
  filter: true
  filter_args: {max_num_frames: 800, min_num_frames: 200}
  frontend: fbank
  num_frms: 600
  resample_rate: 16000
  shuffle_args: {shuffle_size: 2500}
  spec_aug: false
  speed_perturb: false
do_lm: true
exp_dir: exp/samresnet34_lm
gpus: [0, 1]
margin_update: {epoch_iter: 5463, final_margin: 0.3, fix_start_epoch: 3, increase_start_epoch: 0,
  increase_type: linear, initial_margin: 0.0, update_margin: true}
model: SimAM_ResNet34_ASP
model_init: voxblink2_samresnet34_ft/avg_model.pt
num_avg: 1
num_epochs: 6
optimizer: SGD
optimizer_args: {lr: 5.0e-5, momentum: 0.9, nesterov: true, weight_decay: 1.0e-4}
projection_args: {easy_margin: false, project_type: arc_margin, scale: 32.0}
scheduler: ExponentialDecrease
scheduler_args: {epoch_iter: 5463, final_lr: 1.0e-5, initial_lr: 5.0e-5, num_epochs: 6,
  scale_ratio: 0.75, warm_from_zero: true, warm_up_epoch: 0}
seed: 42
"""


def published_config(in_planes: int, embed_dim: int) -> dict:
    """Return the config.yaml of a network of this size."""
    config = yaml.safe_load(CONFIG)
    config["model_args"] = {"acoustic_dim": 80, "embed_dim": embed_dim, "in_planes": in_planes}
    config["projection_args"] |= {"embed_dim": embed_dim, "num_class": SPEAKERS}
    return config


def write_release(folder: Path, model: nn.Module, in_planes: int, embed_dim: int) -> Path:
    """Write models/avg_model.pt, with the weights of its classifier, and config.yaml."""
    (folder / "models").mkdir(parents=True)
    state = {**model.state_dict(), "projection.weight": torch.zeros(SPEAKERS, embed_dim)}
    torch.save(state, folder / "models" / "avg_model.pt")
    (folder / "config.yaml").write_text(yaml.dump(published_config(in_planes, embed_dim)))
    return folder
