from pathlib import Path

import pytest
import yaml
from conftest import refused

from tidyvoice.config import load_experiment
from tidyvoice.errors import TidyVoiceError
from tidyvoice.settings import differences

ROOT = Path(__file__).parent.parent
PAIRS, EPISODES = "data.sampler.args.pairs=true", "data.sampler.name=Episodes"


@pytest.fixture
def path(experiment, tmp_path):
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(experiment))
    return path


def test_all_mistakes_are_named_at_once_with_the_nearest_name(path):
    overrides = (
        "epochs=-1",
        "margins.x=1",
        "learning_rate.initial_lr=1",
        "optimizer.name=Adamw",
        "loss.name=triplet",
        "data.sampler={name: Balanced, args: {by: accent, powr: 1}}",
        "data.augmentations=[{name: SpecAugmnt}]",
        "optimizer.groups=[{pattern: '(', lr_facto: 1}]",
        "validation=3",
    )
    message = refused(load_experiment, path, overrides)
    assert message.startswith(f"{path}: ")
    for part in (
        "unknown key margins: did you mean margin?",
        "epochs: Input should be greater than or equal to 0 (it is -1)",
        "optimizer.name: did you mean AdamW?",
        "loss.name: known are AMSoftmax, ArcMargin, SubCentreArcMargin, SphereFace2",
        "settings of the component belong under learning_rate.args",
        "Balanced: by: Input should be 'speaker' or 'language'",
        "unknown key powr: did you mean power?",
        "data.augmentations.0.name: did you mean SpecAugment?",
        "did you mean optimizer.groups.0.lr_factor?",
        "optimizer.groups.0.pattern: Input should be a valid regular expression",
        "validation is a group of settings, not 3: set one of validation.data, ",
    ):
        assert part in message


def test_saved_settings_are_the_same_experiment(path, tmp_path):
    overrides = ["data.augmentations=[{name: SpecAugment}]", "optimizer.groups=[{pattern: x}]"]
    overrides += ["data.noise=null", "learning_rate.args.initial_lr=3e-4"]
    settings = load_experiment(path, overrides)
    assert (settings.data.noise, settings.learning_rate.args["initial_lr"]) == (None, 3e-4)
    settings.save(tmp_path / "saved.yaml")
    assert load_experiment(tmp_path / "saved.yaml") == settings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", r"line \d+: no valid YAML"),
        ("epochs: 1\nepochs: 2", "line 2: no valid YAML .*'epochs' stands twice"),
        ("epochs: 1", "the key experiment is missing"),
    ],
)
def test_a_bad_file_names_the_place(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(TidyVoiceError, match=rf"bad\.yaml.*{message}"):
        load_experiment(path)
    assert "none.yaml is missing" in refused(load_experiment, tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.speeds=[1.0"], "'data.speeds=[1.0' line 1: no valid YAML"),
        (["optimizer.args.momentum=0"], "optimizer.args: nesterov needs a momentum"),
        (["frontend.args.num_mel_bins=81"], "multiple of 8"),
        (["data.speeds=[1.004]"], "round the speed 1.004"),
        (["data.max_seconds=0.00001"], "data.max_seconds: Input should be greater than or equal"),
        (["loss.name=AMSoftmax", "loss.args.sub_centres=2"], "AMSoftmax: unknown key sub_cen"),
        (["margin.args.increase_start_epoch=5"], "before increase_start_epoch"),
        (["loss.args.margin=0.2"], "margin: leave it out; the section margin decides"),
        ([PAIRS, "data.batch_size=4"], "pairs and episodes need one speed"),
        ([PAIRS, "data.speeds=[1.0]"], "pairs need an even batch_size, not 5"),
        ([EPISODES], "utterances 2, in each of sampler.args.languages 1: set batch_size to 4 or"),
        ([EPISODES, "data.sampler.args.languages=4"], "to 16 or a larger multiple of 8, not 5"),
        ([EPISODES, "data.batch_size=2"], "multiple of 2, not 2"),
        (["languages.prototypes=1"], "prototypes needs several utterances of a speaker"),
        (["languages.contrast=0.5"], "contrast needs one speed"),
        (["model.compile=true", "model.activation_checkpointing=true"], "compile excludes"),
        (["epochs=3", "average=4"], "average is above epochs"),
        (["epochs=9", "average=3", "keep_checkpoints=2"], "average is above epochs"),
        (["loss.init=checkpoint"], "checkpoint needs the folder of a model"),
    ],
)
def test_settings_that_cannot_be_are_refused(path, overrides, message):
    assert message in refused(load_experiment, path, overrides)


def test_a_network_beyond_any_memory_is_refused(path):
    with pytest.raises(TidyVoiceError, match=r"1,393,563,320,720 parameters: set smaller sizes"):
        load_experiment(path, ["model.args.in_planes=16384"]).build_model()


def test_another_component_drops_the_settings_of_the_one_before(path, tmp_path):
    above = tmp_path / "above.yaml"
    loss = {"name": "SubCentreArcMargin", "args": {"sub_centres": 2, "scale": 20.0}}
    above.write_text(yaml.safe_dump({"base": path.name, "loss": loss}))
    assert load_experiment(above, ["loss.name=AMSoftmax"]).loss.args == {"scale": 32.0}
    again = load_experiment(above, ["loss.name=SubCentreArcMargin", "loss.args.top_k=1"])
    assert (again.loss.args["sub_centres"], again.loss.args["scale"]) == (2, 20.0)


def test_a_file_on_top_of_another_holds_what_differs(path, tmp_path):
    (tmp_path / "sub").mkdir()
    above = tmp_path / "sub" / "above.yaml"
    above.write_text(f"base: ../{path.name}\nepochs: 9\ndata:\n  batch_size: 7\n")
    below, merged = load_experiment(path), load_experiment(above, ["data.batch_size=8"])
    assert (merged.epochs, merged.data.batch_size) == (9, 8)
    assert merged.data.train == below.data.train
    assert merged.learning_rate == below.learning_rate
    above.write_text("base: above.yaml\n")
    assert f"{above}: is its own base" in refused(load_experiment, above)


@pytest.mark.parametrize("recipe", ["mini", "tidyvoice"])
@pytest.mark.parametrize("config", sorted(ROOT.glob("conf/variants/*.yaml")), ids=str)
def test_every_variant_is_another_experiment_than_its_base(config, recipe):
    path = ROOT / f"conf/{recipe}/finetune.yaml"
    variant = load_experiment(config, [f"base={path}"])
    base = load_experiment(path)
    changed = differences(base.model_dump(mode="json"), variant.model_dump(mode="json"))
    assert changed
    assert {key.partition(".")[0] for key in changed} <= {"data", "languages", "loss", "margin"}
    assert f"--variant {config.stem} --exp exp/{config.stem}\n" in config.read_text()
