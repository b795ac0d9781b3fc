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
TINY = (Path(__file__).parent / "tiny.txt").read_text().split()
RECIPE = "./run.sh --recipe mini"
CORPUS = [value for value in TINY if value.startswith("corpus.")]
SETTINGS = re.findall(r"^(\w+)=", (ROOT / "conf/mini/recipe.sh").read_text(), re.MULTILINE)


def shrink(conf: Path) -> None:
    """Write the tiny settings into the YAML files of a copy of ``conf``."""
    corpus = [value.removeprefix("corpus.") for value in CORPUS]
    recipe = [value for value in TINY if value.partition("=")[0] in SETTINGS]
    training = [value for value in TINY if value not in (*recipe, *CORPUS)]
    for path in conf.glob("*/*.yaml"):
        if "experiment:" not in path.read_text() and path.name != "corpus.yaml":
            continue  # no settings of a training
        of_corpus = path.name == "corpus.yaml"
        model, values = (Settings, corpus) if of_corpus else (Experiment, training)
        settings = load_settings(model, path, values)
        path.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    for path in conf.glob("*/recipe.sh"):
        text = path.read_text()
        for value in recipe:
            key = value.partition("=")[0]
            text = re.sub(rf"^{key}=\S*", value, text, flags=re.MULTILINE)
        path.write_text(text)


def copy_project(folder: Path) -> Path:
    """Copy run.sh and the configurations, with tiny settings, into a folder."""
    shutil.copytree(ROOT / "conf", folder / "conf")
    shrink(folder / "conf")
    shutil.copy(ROOT / "run.sh", folder)
    (folder / "local").symlink_to(ROOT / "local")
    return folder
