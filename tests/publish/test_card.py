"""The published folder and its card."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import invoke, succeed
from huggingface_hub import ModelCard

from tests.publish.support import texts
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.modelhub.folder import training_speakers
from tidyvoice.publish import Terms, folder, gather, write_folder
from tidyvoice.publish.privacy import shown, without_folders
from tidyvoice.released import fetch_model

TERMS = Terms("ann/voices", "cc-by-4.0")


def publish(source, out, *options):
    """Run the command; return what it prints."""
    command = ("hub", "push", source, "ann/voices", "--licence", "cc-by-4.0", "--out", out)
    return succeed(*command, "--bootstrap", "100", *options)


def card_of(source, out, *options):
    publish(source, out, *options)
    return ModelCard.load(out / "README.md")


@pytest.fixture(scope="module")
def published(trained, tmp_path_factory):
    """The second experiment, as it is published."""
    out = tmp_path_factory.mktemp("published") / "out"
    publish(trained.second, out, "--about", "Tones, not voices.")
    return out


@pytest.fixture(scope="module")
def card(published):
    return ModelCard.load(published / "README.md")


def section(card, title):
    """Return the text below a heading, up to the next one of its rank."""
    rank = title.partition(" ")[0]
    return card.text.partition(f"\n{title}\n")[2].partition(f"\n{rank} ")[0]


def test_the_folder_holds_the_same_model_as_safetensors(trained, published, voices):
    assert sorted(path.name for path in published.iterdir()) == [
        "README.md", "config.yaml", "model.safetensors", "speakers.txt", "verifier.json",
    ]  # fmt: skip
    before, after = (
        SpeakerEncoder.from_pretrained(where, "cpu")
        for where in (trained.second / "models", published)
    )
    for name, tensor in before.model.state_dict().items():
        assert torch.equal(tensor, after.model.state_dict()[name])
    wavs = [voices / "ann-1.wav", voices / "bob-1.wav"]
    one, other = (encoder.embed(wavs[0]) for encoder in (before, after))
    assert one.tobytes() == other.tobytes()
    assert before.verify(*wavs) == after.verify(*wavs)


def test_the_metadata_are_what_the_hub_reads(trained, card):
    data = card.data
    assert (data.license, data.library_name) == ("cc-by-4.0", "tidyvoice")
    assert data.pipeline_tag == "audio-classification"
    assert "speaker-verification" in data.tags
    assert data.language == ["en", "fr"]
    assert data.model_name == "voices"
    # Of the two evaluations only the one that is not in-sample.
    scores = trained.second / "scores" / "dev.score"
    (pooled, *_) = json.loads(succeed("metrics", scores, "--json"))["categories"]
    assert {result.metric_name: result.metric_value for result in data.eval_results} == {
        "EER in %, dev": pytest.approx(100 * pooled["eer"], abs=1e-3),
        "minDCF at P(target) 0.01, dev": pytest.approx(pooled["points"][0]["min_dcf"], abs=1e-4),
        "minDCF at P(target) 0.05, dev": pytest.approx(pooled["points"][1]["min_dcf"], abs=1e-4),
    }
    assert {result.dataset_name for result in data.eval_results} == {"fair"}


def test_the_results_have_intervals_categories_and_their_provenance(trained, card):
    scores = trained.second / "scores" / "dev-llr.score"
    metrics = json.loads(succeed("metrics", scores, "--json", "--bootstrap", "100"))
    for row in metrics["categories"]:
        low, high = (100 * bound for bound in row["eer_interval"])
        eer = f"{100 * row['eer']:.2f} [{low:.2f}, {high:.2f}]"
        (line,) = [
            line
            for line in section(card, "### dev-llr").splitlines()
            if line.startswith(f"| {row['category']}")
        ]
        assert eer in line
    fair, optimistic = section(card, "### dev"), section(card, "### dev-llr")
    assert "100 resamples of the speakers" in fair
    assert "made the scores" not in fair
    assert "1. cosine of the embeddings" in fair
    assert "**In sample.**" not in fair
    assert "**In sample.**" in optimistic
    assert "the training of the model of all.npz share 4 speakers" in optimistic
    decisions = section(card, "## Decisions")
    assert "the mean of all.npz share 8 speakers" in decisions
    assert decisions.count("**In-sample**") == 2
    assert "| 0.5 | " in decisions


def test_the_trainings_are_listed_from_the_first(card):
    text = section(card, "## Training")
    assert text.index("### 1. `first`") < text.index("### 2. `second`")
    assert "`train`, starting from random weights." in text
    assert "`train`, starting from the model of `first`." in text
    assert text.count("Languages: en, fr.") == 2
    assert text.count("| train | 4 | 32 | 0.0 |") == 2
    assert "2 steps of 4 chunks" in text
    assert "initial_lr: 0.001" in text
    assert "trained on 4 speakers, whose names are not published." in text


def test_the_card_states_use_limits_and_licence(card):
    assert "Tones, not voices." in card.text
    assert "67,950 parameters" in card.text
    assert "16,000 Hz" in card.text
    assert section(card, "## Intended use")
    limits = section(card, "## Limits")
    for word in ("not a proof of identity", "spoofing", "Other languages", "biometric"):
        assert word in limits
    assert "forbid determining who a speaker is" in limits
    assert "`cc-by-4.0`" in section(card, "## Licence")
    assert "- The tones are free." in section(card, "## Licence")


def test_no_text_names_this_machine_or_a_speaker(trained, published):
    for text in texts(published).values():
        for word in (str(trained.folder), "pytest", "ann's", "own files", str(Path.home()), "/tmp"):
            assert word not in text
        assert not [name for name in trained.speakers if name in text]
    assert training_speakers(published) == ["*"]


def test_an_experiment_and_its_model_folder_give_the_same(trained, tmp_path):
    row = json.loads(publish(trained.first, tmp_path / "a", "--json"))
    assert row["folder"] == str(tmp_path / "a")
    assert row["files"] == ["README.md", "config.yaml", "model.safetensors", "speakers.txt"]
    assert row["scores"] == []
    encoder = SpeakerEncoder.from_pretrained(trained.first / "models", "cpu")
    assert row["weights"] == encoder.weights
    assert "--scores NAME" in publish(trained.first / "models", tmp_path / "b")
    assert texts(tmp_path / "a") == texts(tmp_path / "b")
    assert "has no calibration" in texts(tmp_path / "a")["README.md"]


@pytest.fixture
def copied(trained, tmp_path):
    """A copy of the second experiment, whose settings name the data and the first model."""
    shutil.copytree(trained.second, tmp_path / "exp/second")
    return tmp_path / "exp/second"


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


def test_data_and_initial_weights_that_changed_are_unknown(copied, tmp_path):
    def forget(record):
        record["runs"][0]["inputs"] |= {"data": "0" * 64, "initial weights": "0" * 64}

    change(copied / "record.json", forget)
    text = section(card_of(copied, tmp_path / "out"), "## Training")
    assert "contents of the data are unknown" in text
    assert "starting from `models`, whose weights may have changed" in text
    assert "### 1. `second`" in text
    assert "### 2." not in text


def test_a_copy_of_a_model_keeps_its_history_until_it_changes(trained, tmp_path):
    fetched = tmp_path / "fetched"
    fetch_model(str(trained.second / "models"), fetched)
    text = section(card_of(fetched, tmp_path / "a"), "## Training")
    assert text.index("### 1. `first`") < text.index("### 2. `second`")
    change_weights(fetched)
    card = card_of(fetched, tmp_path / "b")
    assert "How the model was trained is unknown." in section(card, "## Training")
    assert "reports no results" in section(card, "## Results")


def test_the_initial_weights_are_followed_to_the_released_model(trained, copied, tmp_path):
    begun = tmp_path / "begun"
    fetch_model(str(trained.first / "models"), begun)
    settings = yaml.safe_load((copied / "config.yaml").read_text())
    settings["model"]["init"] = str(begun)
    (copied / "config.yaml").write_text(yaml.safe_dump(settings))
    text = section(card_of(copied, tmp_path / "a"), "## Training")
    assert "### 1. `first`" in text
    assert "starting from the model of `first`" in text

    def release(source):
        source |= {"source": "someone/base", "revision": "main", "commit": "c" * 40}

    change(begun / "source.json", release)
    card = card_of(copied, tmp_path / "b")
    assert card.data.base_model == "someone/base"
    origin = f"`someone/base` at commit `{'c' * 40}`"
    assert f"starting from {origin}" in section(card, "## Training")
    assert f"{origin}, whose licence applies too" in section(card, "## Licence")


def refuses(source, out, message, terms=TERMS, scores=()):
    with pytest.raises(TidyVoiceError, match=message):
        write_folder(gather(source, scores, resamples=0), terms, out)
    assert not out.exists()


def test_scores_of_other_models_are_refused(copied, tmp_path):
    def fuse(lineage):
        lineage["steps"][0]["step"] = "fusion"

    change(copied / "scores/dev.score.json", fuse)
    refuses(copied, tmp_path / "out", "dev.score is a fusion of several systems")
    change_weights(copied / "models")
    refuses(copied, tmp_path / "out", "embeddings of another model", scores=["dev-llr"])


def test_results_that_may_not_hold_are_marked_and_kept_from_the_metadata(copied, tmp_path):
    sentence = "quality measures alone separate targets from non-targets in the trials of c.score"
    remark = {"kind": "confounded", "reason": "separating", "details": {"areas": {"match": 0.75}}}
    remark["one"] = {"role": "trials", "path": "/a b/c.score"}

    def confound(lineage):
        lineage["steps"][0]["remarks"] = [remark]

    lineage = copied / "scores/dev.score.json"
    change(lineage, confound)
    card = card_of(copied, tmp_path / "a", "--scores", "dev")
    assert "**Confounded.**" in section(card, "### dev")
    assert f"- {sentence}" in section(card, "### dev")
    assert card.data.eval_results is None
    lineage.unlink()
    card = card_of(copied, tmp_path / "b", "--scores", "dev")
    assert "Not checked:\n\n- the trials of dev.score" in section(card, "### dev")
    assert "not known whether these very weights" in section(card, "### dev")
    assert card.data.eval_results is None


def test_missing_models_and_score_files_are_refused(trained, tmp_path):
    refuses(tmp_path, tmp_path / "out", "holds no avg_model.pt, model.safetensors or")
    refuses(trained.second, tmp_path / "out", "no score file 'eval.score'", scores=["eval"])
    fetch_model(str(trained.first / "models"), tmp_path / "fetched")
    refuses(tmp_path / "fetched", tmp_path / "out", "is not an experiment", scores=["dev"])


def test_a_path_of_this_machine_is_refused(trained, tmp_path):
    terms = Terms("ann/voices", "mit", about=f"From {trained.second.absolute()}.")
    refuses(trained.second, tmp_path / "out", "README.md would publish the path", terms)


def test_a_copy_with_one_other_bit_is_not_published(trained, tmp_path, monkeypatch):
    def save(state, metadata):
        bias = next(tensor for tensor in state.values() if tensor.ndim == 1)
        bias[0] = float(np.nextafter(np.float32(bias[0]), np.float32(9)))
        return write({**state}, metadata)

    facts = gather(trained.first, resamples=0)
    write = folder.safetensors.torch.save
    clones = {name: t.clone() for name, t in facts.encoder.model.state_dict().items()}
    monkeypatch.setattr(facts.encoder.model, "state_dict", lambda: clones)
    monkeypatch.setattr(folder.safetensors.torch, "save", save)
    with pytest.raises(TidyVoiceError, match="differs from the one that was read"):
        write_folder(facts, TERMS, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("repository", "licence", "message"),
    [("voices", "mit", "write OWNER/NAME"), ("ann/voices", "Apache 2.0", "as the Hub does")],
)
def test_malformed_terms_are_refused(repository, licence, message):
    with pytest.raises(TidyVoiceError, match=message):
        Terms(repository, licence)


def test_the_publisher_must_choose_a_licence(trained, tmp_path):
    result = invoke("hub", "push", trained.first, "ann/voices")
    assert result.exit_code == 2
    assert "--licence" in result.output
    card = card_of(trained.first, tmp_path / "out", "--licence", "other")
    assert "ask the publisher" in section(card, "## Licence")


def test_paths_are_shortened_to_what_may_be_published(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shown(tmp_path / "data/mini/finetune") == "mini/finetune"
    assert shown("data/mini/finetune") == "mini/finetune"
    assert shown("/home/ann/corpus") == "corpus"
    assert shown("../ann/corpus") == "corpus"
    known = ["/home/ann lee/exp/mean.npz"]
    text = "less the mean of 500 in /home/ann lee/exp/mean.npz, top 40 of data/mini/cohort.npz"
    assert without_folders(text, known) == "less the mean of 500 in mean.npz, top 40 of cohort.npz"
