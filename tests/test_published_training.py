"""The table of `tidyvoice fetch-model`: how a released model was trained, beside our settings."""

import json
import re
from pathlib import Path

import yaml
from conftest import fill_weights
from typer.testing import CliRunner

from tests.releases import published_config, write_release
from tidyvoice.cli import app
from tidyvoice.models import build_model

ROOT = Path(__file__).parent.parent


def test_what_the_release_tells_of_its_training_stands_beside_our_settings(tmp_path):
    model = fill_weights(build_model("SimAM_ResNet34_ASP", in_planes=2, embed_dim=8), 1)
    released = write_release(tmp_path / "released", model, in_planes=2, embed_dim=8)
    ours = ROOT / "conf/tidyvoice/finetune.yaml"
    command = ["fetch-model", str(released), "--config", str(ours), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    lines = [re.split(r"\s{2,}", line) for line in result.output.splitlines()]
    first = next(n for n, line in enumerate(lines) if line[0] == "setting")
    assert lines[first] == ["setting", "published", str(ours)]
    rows = {name: values for name, *values in lines[first + 1 :]}
    assert rows["gpus"] == ["[0, 1]", "-"]
    assert rows["dataloader_args.batch_size"] == ["24", "48", "differs"]
    assert rows["projection_args.num_class"] == ["7", "-"]
    assert rows["num_avg"][1] == "1"
    assert rows["num_epochs"] == ["6", "6"]
    assert rows["scheduler_args.epoch_iter"] == ["5463", "-"]
    assert rows["scheduler_args.initial_lr"] == ["5e-05", "3.75e-05", "differs"]
    assert rows["scheduler_args.initial_lr x scale_ratio"] == ["3.75e-05", "3.75e-05"]
    assert rows["margin_update.initial_margin"] == ["0", "0.1", "differs"]
    config = published_config(2, 8)
    few = {key: config[key] for key in ("model", "model_args", "dataset_args")}
    (released / "config.yaml").write_text(yaml.safe_dump({**few, "num_avg": 10}))
    result = CliRunner().invoke(app, [*command[:-1], str(tmp_path / "few"), "--json"])
    training = json.loads(result.output)["training"]
    assert {row["key"] for row in training if row["published"] is not None} == {"num_avg"}
    (released / "config.yaml").write_text(yaml.safe_dump(few))
    result = CliRunner().invoke(app, [*command[:-1], str(tmp_path / "none")])
    assert "config.yaml does not tell how it was trained" in result.output
