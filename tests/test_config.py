from pathlib import Path

import pytest
import yaml

from tidyvoice.config import Experiment, load_experiment
from tidyvoice.errors import TidyVoiceError
from tidyvoice.settings import differences

ROOT = Path(__file__).parent.parent


@pytest.fixture
def path(experiment, tmp_path):
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(experiment))
    return path


def test_all_mistakes_are_named_at_once_with_the_nearest_key(path):
    overrides = ["data.chunk_frame=3", "epochs=-1", "optimizer.name=Adamw", "margins.x=1"]
    with pytest.raises(TidyVoiceError) as error:
        load_experiment(path, overrides)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "unknown key data.chunk_frame: did you mean data.chunk_frames?" in message
    assert "unknown key margins: did you mean margin?" in message
    assert "epochs: Input should be greater than or equal to 0 (it is -1)" in message
    assert "optimizer.name" in message
    assert "\n" not in message


def test_a_value_in_the_place_of_a_group_is_told_its_keys(path):
    with pytest.raises(TidyVoiceError) as error:
        load_experiment(path, ["learning_rate=0.4", "validation=3"])
    message = str(error.value)
    assert "learning_rate is a group of settings, not 0.4: set one of learning_rate.init" in message
    assert "validation is a group of settings, not 3: set one of validation.data, " in message


def test_overrides_are_yaml_values_at_dotted_keys(path):
    settings = load_experiment(path, ["data.speeds=[1.0]", "data.noise=null", "seed=7"])
    assert settings.data.speeds == (1.0,)
    assert settings.data.noise is None
    assert settings.seed == 7


def test_numbers_in_exponent_form_are_numbers(path):
    settings = load_experiment(path, ["learning_rate.initial_lr=3e-4"])
    assert settings.learning_rate.initial_lr == 3e-4


def test_saved_settings_are_the_same_experiment(path, tmp_path):
    settings = load_experiment(path)
    settings.save(tmp_path / "saved.yaml")
    assert load_experiment(tmp_path / "saved.yaml") == settings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", r"line \d+: no valid YAML"),
        ("just text", "expected settings"),
        ("a: \x07", "no valid YAML"),
        ("? [a, b]\n: 1", "no valid YAML"),
        ("epochs: 1\nepochs: 2", "line 2: no valid YAML .*'epochs' stands twice"),
        ("epochs: 1", "the key experiment is missing"),
        ("model: {name: ResNet}", "model.name: did you mean ResNet34"),
        ("optimizer: {momentum: 0}", "nesterov needs a momentum"),
        ("frontend: {args: {num_mel_bins: 81}}", "multiple of 8"),
        ("frontend: {name: fbanks}", "frontend.name: did you mean fbank"),
        ("data: {train: x, speeds: [1.004]}", "fraction"),
        ("margin: {fix_start_epoch: 1, increase_start_epoch: 5}", "before increase_start_epoch"),
    ],
)
def test_a_bad_file_names_the_place(tmp_path, text, message):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(TidyVoiceError, match=message):
        load_experiment(tmp_path / "bad.yaml")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.pairs=true", "data.batch_size=4"], "pairs go with one speed"),
        (["languages.contrast=0.5"], "contrast goes with one of data.speeds"),
        (["model.compile=true", "model.recompute=true"], "compile does not go with recompute"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(path, overrides, message):
    speeds = "data.speeds=[1.0, 0.9]"
    with pytest.raises(TidyVoiceError, match=message):
        load_experiment(path, [speeds, *overrides])


def test_a_missing_file_and_a_malformed_override_say_so(path, tmp_path):
    with pytest.raises(TidyVoiceError, match=r"none\.yaml is missing"):
        load_experiment(tmp_path / "none.yaml")
    with pytest.raises(TidyVoiceError, match="'epochs' is not key=value"):
        load_experiment(path, ["epochs"])
    with pytest.raises(TidyVoiceError, match=r"'data.speeds=\[1.0' line 1: no valid YAML"):
        load_experiment(path, ["data.speeds=[1.0"])
    (tmp_path / "latin.yaml").write_bytes("ä: 1".encode("latin-1"))
    with pytest.raises(TidyVoiceError, match=r"latin\.yaml: not UTF-8"):
        load_experiment(tmp_path / "latin.yaml")
    with pytest.raises(TidyVoiceError, match="epochs: Input should be a valid integer"):
        load_experiment(path, ["epochs.x=1"])


def test_the_defaults_are_those_of_the_published_baseline():
    settings = Experiment.model_validate(
        {
            "experiment": "x",
            "epochs": 1,
            "data": {"train": "y"},
            "learning_rate": {"initial_lr": 1, "final_lr": 1},
        }
    )
    assert settings.learning_rate.scale_ratio == 1
    assert settings.model.args["in_planes"] == 64
    assert settings.loss.args["scale"] == 32
    assert settings.data.speeds == (1.0, 0.9, 1.1)
    assert settings.frontend.args["window_type"] == "hamming"


def test_a_file_on_top_of_another_holds_what_differs(path, tmp_path):
    (tmp_path / "sub").mkdir()
    above = tmp_path / "sub" / "above.yaml"
    above.write_text(f"base: ../{path.name}\nepochs: 9\ndata:\n  batch_size: 7\n")
    below, made = load_experiment(path), load_experiment(above, ["data.batch_size=8"])
    assert (made.epochs, made.data.batch_size) == (9, 8)
    assert made.data.train == below.data.train
    assert made.learning_rate == below.learning_rate
    above.write_text("base: above.yaml\n")
    with pytest.raises(TidyVoiceError, match=r"above\.yaml: is its own base"):
        load_experiment(above)
    above.write_text("base: [a]\n")
    with pytest.raises(TidyVoiceError, match="base: give the path of a YAML file"):
        load_experiment(above)
    above.write_text("base: nothing.yaml\n")
    with pytest.raises(TidyVoiceError, match=r"nothing\.yaml is missing"):
        load_experiment(above)


@pytest.mark.parametrize("config", sorted(ROOT.glob("conf/*/variants/*.yaml")), ids=str)
def test_every_variant_is_another_experiment_than_its_base(config):
    variant = load_experiment(config)
    base = load_experiment(config.parents[1] / "finetune.yaml")
    changed = differences(base.model_dump(mode="json"), variant.model_dump(mode="json"))
    assert changed
    assert {key.partition(".")[0] for key in changed} <= {"data", "languages", "loss", "margin"}
    text = config.read_text()
    call = f"./run.sh --recipe {config.parts[-3]} --variant {config.stem} --exp exp/{config.stem}"
    assert f"{call}\n" in text
