"""The published folder and its card."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import succeed
from huggingface_hub import ModelCard

from tidyvoice.errors import TidyVoiceError
from tidyvoice.modelhub.folder import training_speakers
from tidyvoice.publish import folder
from tidyvoice.publish.facts import gather
from tidyvoice.publish.folder import write_folder
from tidyvoice.released import fetch_model

TERMS = ("ann/voices", "cc-by-4.0")
ORIGIN = f"`someone/base` at commit `{'c' * 40}`"


def card_of(source, out, *options):
    """Run the command and return the card."""
    command = ("hub", "push", source, "ann/voices", "--licence", "cc-by-4.0", "--out", out)
    row = json.loads(succeed(*command, "--bootstrap", "100", "--json", *options))
    assert row["folder"] == str(out)
    assert row["files"] == sorted(path.name for path in out.iterdir())
    return ModelCard.load(out / "README.md")


@pytest.fixture(scope="module")
def published(trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("published") / "out"
    card_of(trained.experiment, out, "--about", "Tones, not voices.")
    return out


@pytest.fixture(scope="module")
def card(published):
    return ModelCard.load(published / "README.md")


def section(card, title):
    """Return the text below a heading, up to the next one of its rank."""
    rank = title.partition(" ")[0]
    return card.text.partition(f"\n{title}\n")[2].partition(f"\n{rank} ")[0]


def test_the_metadata_are_what_the_hub_reads(trained, card):
    data = card.data
    assert (data.license, data.library_name) == ("cc-by-4.0", "tidyvoice")
    assert "speaker-verification" in data.tags
    assert data.language == ["en", "fr"]
    assert data.model_name == "voices"
    # Of the two evaluations only the one that is not in-sample.
    scores = trained.experiment / "scores" / "dev.score"
    (pooled, *_) = json.loads(succeed("metrics", scores, "--json"))["categories"]
    values = {result.metric_name: result.metric_value for result in data.eval_results}
    assert values.pop("EER in %, dev") == pytest.approx(100 * pooled["eer"], abs=1e-3)
    costs = [pytest.approx(point["min_dcf"], abs=1e-4) for point in pooled["points"]]
    assert list(values.values()) == costs
    assert {result.dataset_name for result in data.eval_results} == {"fair"}


def test_the_results_have_intervals_categories_and_their_provenance(trained, card):
    scores = trained.experiment / "scores" / "dev-llr.score"
    metrics = json.loads(succeed("metrics", scores, "--json", "--bootstrap", "100"))
    fair, optimistic = section(card, "### dev"), section(card, "### dev-llr")
    for row in metrics["categories"]:
        low, high = (100 * bound for bound in row["eer_interval"])
        assert f"| {row['category']}" in optimistic
        assert f"{100 * row['eer']:.2f} [{low:.2f}, {high:.2f}]" in optimistic
    assert "made the scores" not in fair + optimistic
    assert "1. cosine of the embeddings" in fair
    assert "**In sample.**" not in fair
    assert "**In sample.**" in optimistic
    assert "the training of the model of all.npz share 4 speakers" in optimistic
    assert "1. LDA, cohort offsets: the back end backend.json" in optimistic
    decisions = section(card, "## Decisions")
    assert decisions.count("**In-sample**") == 2
    assert "by its back end (LDA, cohort offsets)" in decisions
    assert "measured by 8 speakers" in decisions


def test_the_card_states_training_use_limits_and_licence(card):
    for title, words in {
        "# voices": ("Tones, not voices.", "67,950 parameters"),
        "## Training": (
            "`train`, starting from `model`.",
            "4 speakers, 32 utterances, 0.0 hours; languages: en, fr.",
            "2 steps of 4 chunks",
            "trained on 5 speakers, whose names are not published.",
        ),
        "## Limits": ("not a proof of identity",),
        "## Licence": ("`cc-by-4.0`", "- The tones are free."),
    }.items():
        for word in words:
            assert word in section(card, title)


def test_no_text_names_this_machine_or_a_speaker(published):
    for text in (p.read_text() for p in published.iterdir() if p.suffix != ".safetensors"):
        for word in ("id00000", "pytest", "ann's", "own files", str(Path.home()), "/tmp"):
            assert word not in text
    assert training_speakers(published) == ["*"]


@pytest.fixture
def copied(trained, tmp_path):
    """A copy of the experiment."""
    return Path(shutil.copytree(trained.experiment, tmp_path / "exp"))


def change(path, edit):
    """Change a JSON file."""
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def change_weights(folder):
    state = torch.load(folder / "avg_model.pt", weights_only=True)
    next(iter(state.values())).add_(1)
    torch.save(state, folder / "avg_model.pt")
    (folder / "verifier.json").unlink(missing_ok=True)


@pytest.fixture
def released(trained, tmp_path):
    """The initial model, as if it came from a repository."""
    fetch_model(str(trained.initial), tmp_path / "begun")
    released = {"source": "someone/base", "revision": "main", "commit": "c" * 40}
    change(tmp_path / "begun/source.json", lambda source: source.update(released))
    return tmp_path / "begun"


def test_the_released_initial_weights_are_named_until_they_change(
    trained, released, copied, tmp_path
):
    config = copied / "config.yaml"
    config.write_text(config.read_text().replace(str(trained.initial), str(released)))
    card = card_of(copied, tmp_path / "a")
    assert card.data.base_model == "someone/base"
    assert f"starting from {ORIGIN}" in section(card, "## Training")
    assert f"{ORIGIN}, whose licence applies too" in section(card, "## Licence")

    def forget(record):
        record["runs"][0]["inputs"] |= {"data": "0" * 64, "initial weights": "0" * 64}

    change(copied / "record.json", forget)
    card = card_of(copied, tmp_path / "b")
    assert "contents of the data are unknown" in section(card, "## Training")
    assert "starting from `begun`." in section(card, "## Training")
    assert card.data.base_model is None


def test_a_released_model_keeps_its_origin_until_it_changes(released, tmp_path):
    card = card_of(released, tmp_path / "a")
    assert f"The weights are {ORIGIN}, unchanged." in section(card, "## Training")
    change_weights(released)
    card = card_of(released, tmp_path / "b", "--licence", "other")
    assert "How the model was trained is unknown." in section(card, "## Training")
    assert "reports no results" in section(card, "## Results")
    assert "has no calibration" in section(card, "## Decisions")
    assert "ask the publisher" in section(card, "## Licence")


def refuses(source, out, message, scores=(), about=""):
    with pytest.raises(TidyVoiceError, match=message):
        write_folder(gather(source, scores, resamples=0), out, *TERMS, about)
    assert not out.exists()


def test_scores_of_other_models_and_paths_of_this_machine_are_refused(copied, tmp_path):
    about = f"From {copied}."
    refuses(copied, tmp_path / "out", "README.md would publish the path", about=about)
    step = {"step": "fusion"}
    change(copied / "scores/dev.score.json", lambda lineage: lineage["steps"][0].update(step))
    refuses(copied, tmp_path / "out", "dev.score is a fusion of several systems")
    change_weights(copied / "models")
    refuses(copied, tmp_path / "out", "made with another model", scores=["dev-llr"])
    refuses(copied, tmp_path / "out", "no score file 'eval.score'", scores=["eval"])


def test_results_that_may_not_hold_are_marked_and_kept_from_the_metadata(copied, tmp_path):
    remark = {"kind": "confounded", "reason": "separating", "details": {"areas": {"match": 0.75}}}
    remark["one"] = {"role": "trials", "path": "/a b/c.score"}
    lineage = copied / "scores/dev.score.json"
    change(lineage, lambda content: content["steps"][0].update(remarks=[remark]))
    card = card_of(copied, tmp_path / "a", "--scores", "dev")
    assert "**Confounded.**" in section(card, "### dev")
    assert "non-targets in the trials of c.score" in section(card, "### dev")
    assert card.data.eval_results is None
    lineage.unlink()
    card = card_of(copied, tmp_path / "b", "--scores", "dev")
    assert "Not checked:\n\n- how the scores of the trials of dev.score" in section(card, "### dev")
    assert "not known whether these very weights" in section(card, "### dev")
    assert card.data.eval_results is None


def test_a_copy_with_one_other_bit_is_not_published(trained, tmp_path, monkeypatch):
    save = folder.safetensors.torch.save

    def change_a_bit(state, metadata):
        bias = state["bottleneck.bias"].clone()
        bias[0] = float(np.nextafter(np.float32(bias[0]), np.float32(9)))
        return save({**state, "bottleneck.bias": bias}, metadata)

    monkeypatch.setattr(folder.safetensors.torch, "save", change_a_bit)
    model = Path(shutil.copytree(trained.initial, tmp_path / "model"))
    (model / "verifier.json").unlink()
    refuses(model, tmp_path / "out", "differs from the one that was read")
