"""A copy of the project with tiny settings."""

import re
import shutil
from pathlib import Path

import yaml

from local.mini.settings import Settings
from tidyvoice.config import Experiment
from tidyvoice.settings import load_settings

ROOT = Path(__file__).parents[2]
# The smallest size; .ci/run gives the same settings to the project's own run.sh.
TINY = (Path(__file__).parent / "tiny.txt").read_text().splitlines()
RECIPE = "./run.sh --recipe mini"
OPTIONS = dict(line.removeprefix("--").split() for line in TINY if line.startswith("--"))


def shrink(conf: Path) -> None:
    """Write the tiny settings into the YAML files of a copy of ``conf``."""
    corpus = [line.removeprefix("corpus.") for line in TINY if line.startswith("corpus.")]
    training = [line for line in TINY if not line.startswith(("corpus.", "--"))]
    for path in conf.glob("*/*.yaml"):
        if "experiment:" not in path.read_text() and path.name != "corpus.yaml":
            continue  # no settings of a training
        of_corpus = path.name == "corpus.yaml"
        model, values = (Settings, corpus) if of_corpus else (Experiment, training)
        settings = load_settings(model, path, values)
        path.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    for path in conf.glob("*/recipe.sh"):
        text = path.read_text()
        for name, value in OPTIONS.items():
            key = name.replace("-", "_")
            text = re.sub(rf'^{key}=(".*"|\S*)', f"{key}={value}", text, flags=re.MULTILINE)
        path.write_text(text)


def copy_project(folder: Path) -> Path:
    """Copy run.sh and the configurations, with tiny settings, into a folder."""
    shutil.copytree(ROOT / "conf", folder / "conf")
    shrink(folder / "conf")
    shutil.copy(ROOT / "run.sh", folder)
    (folder / "local").symlink_to(ROOT / "local")
    return folder
