"""The published folder and its card."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from typer.testing import CliRunner

from tests.publish.support import texts
from tidyvoice.cli import app
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.frontend import FrontendSettings
from tidyvoice.modelhub.folder import training_speakers
from tidyvoice.publish import Terms, folder, gather, write_folder
from tidyvoice.publish.privacy import shown, without_folders
from tidyvoice.released import fetch_model

TERMS = Terms("ann/voices", "cc-by-4.0")


def publish(source, out, *options):
    """The command; what it says."""
    command = ["hub", "push", source, "ann/voices", "--licence", "cc-by-4.0", "--out", out]
    result = CliRunner().invoke(app, [*map(str, command), "--bootstrap", "100", *options])
    assert result.exit_code == 0, result.output
    return result.stdout


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
    """The text below a heading, up to the next one of its rank."""
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
    one, other = (encoder.embed(voices / "ann-1.wav") for encoder in (before, after))
    assert one.tobytes() == other.tobytes()
    wavs = [voices / "ann-1.wav", voices / "bob-1.wav"]
    assert before.verify(*wavs) == after.verify(*wavs)


def test_the_metadata_are_what_the_hub_reads(card):
    data = card.data
    assert data.license == "cc-by-4.0"
    assert data.library_name == "tidyvoice"
    assert data.pipeline_tag == "audio-classification"
    assert "speaker-verification" in data.tags
    assert data.language == ["en", "fr"]
    assert data.model_name == "voices"


def test_results_are_those_of_the_scores_and_those_in_sample_no_part_of_the_index(trained, card):
    scores = trained.second / "scores" / "dev.score"
    command = ["metrics", str(scores), "--json", "--bootstrap", "100"]
    (pooled, *_) = json.loads(CliRunner().invoke(app, command).stdout)["categories"]
    found = {result.metric_name: result.metric_value for result in card.data.eval_results}
    assert found == {
        "EER in %, dev": pytest.approx(100 * pooled["eer"], abs=1e-3),
        "minDCF at P(target) 0.01, dev": pytest.approx(pooled["points"][0]["min_dcf"], abs=1e-4),
        "minDCF at P(target) 0.05, dev": pytest.approx(pooled["points"][1]["min_dcf"], abs=1e-4),
    }
    assert {result.dataset_name for result in card.data.eval_results} == {"fair"}
    low, high = pooled["eer_interval"]
    eer = f"{100 * pooled['eer']:.2f} [{100 * low:.2f}, {100 * high:.2f}]"
    (line,) = [x for x in section(card, "### dev").splitlines() if x.startswith("| all/all")]
    assert eer in line
    assert "100 resamples of the speakers" in section(card, "### dev")
    assert "was not checked" not in section(card, "### dev")
    assert "Scores: plain cosine.\n" in section(card, "### dev")


def test_what_is_in_sample_says_so(card):
    assert "In sample" not in section(card, "### dev")
    told = section(card, "### dev-llr")
    assert "**In sample.**" in told
    assert "the training of the model of all.npz share 4 speakers" in told
    decisions = section(card, "## Decisions")
    assert "**In sample**: the trials of trials and the mean of all.npz share 8 speakers" in (
        decisions
    )


def test_training_is_told_from_its_beginning(card):
    told = section(card, "## Training")
    assert told.index("### 1. `first`") < told.index("### 2. `second`")
    assert "`train`, begun with random weights. Languages: en, fr." in told
    assert "`train`, begun with the model of `first`." in told
    assert told.count("| train | 4 | 32 | 0.0 |") == 2
    assert "2 steps of 4 chunks" in told
    assert "initial_lr: 0.001" in told
    assert "The model knows 4 speakers, whose names are not published." in told


def test_the_card_says_what_it_is_for_and_what_it_is_not(card):
    assert "Tones, not voices." in card.text
    assert "67,950 parameters" in card.text
    assert "16,000 Hz" in card.text
    limits = section(card, "## Limits")
    for word in ("not a proof of identity", "spoofing", "Other languages", "biometric"):
        assert word in limits
    assert "cosine of two embeddings into a log-likelihood ratio" in section(card, "## Decisions")
    assert "forbid determining who a speaker is" in limits
    assert "`cc-by-4.0`" in section(card, "## Licence")
    assert "- The tones are CC0." in section(card, "## Licence")


def test_nothing_tells_of_the_machine_or_of_a_speaker(trained, published):
    for text in texts(published).values():
        for word in (str(trained.folder), "pytest", "ann's", "own files", str(Path.home()), "/tmp"):
            assert word not in text
        assert not [name for name in trained.speakers if name in text]
    assert training_speakers(published) == ["*"]


def test_speakers_are_named_where_that_is_asked_for(trained, tmp_path):
    out = tmp_path / "out"
    publish(trained.second, out, "--with-speakers", "--scores", "dev-llr")
    assert training_speakers(out) == trained.speakers[:4]
    text = texts(out)["README.md"]
    assert "share 4 speakers\n" in text
    assert "named in `speakers.txt`" in text
    assert "### dev\n" not in text


def test_the_json_and_the_text_say_what_was_written(trained, tmp_path):
    made = json.loads(publish(trained.first, tmp_path / "a", "--json"))
    assert made["folder"] == str(tmp_path / "a")
    assert made["files"] == ["README.md", "config.yaml", "model.safetensors", "speakers.txt"]
    assert made["scores"] == []
    encoder = SpeakerEncoder.from_pretrained(trained.first / "models", "cpu")
    assert made["weights"] == encoder.weights
    said = publish(trained.first / "models", tmp_path / "b")
    assert "loaded back, the same embeddings" in said
    assert "the card reports no result" in said
    # A folder called models is its experiment's.
    assert texts(tmp_path / "a") == texts(tmp_path / "b")
    assert "carries no calibration" in texts(tmp_path / "a")["README.md"]


def test_of_a_fetched_model_its_source_is_told(trained, tmp_path):
    fetch_model(str(trained.second / "models"), tmp_path / "fetched")
    publish(tmp_path / "fetched", tmp_path / "out")
    text = texts(tmp_path / "out")["README.md"]
    assert "the files avg_model.pt, config.yaml of `models`, unchanged" in text
    assert "Nothing was measured" in text
    state = torch.load(tmp_path / "fetched/avg_model.pt", weights_only=True)
    next(iter(state.values())).add_(1)
    torch.save(state, tmp_path / "fetched/avg_model.pt")
    (tmp_path / "fetched/verifier.json").unlink()
    publish(tmp_path / "fetched", tmp_path / "other")
    assert "is not known here" in texts(tmp_path / "other")["README.md"]


@pytest.fixture
def copied(trained, tmp_path):
    """The experiments, to be changed; their settings still name the data and the first model."""
    shutil.copytree(trained.second, tmp_path / "exp/second")
    return tmp_path / "exp/second"


def test_data_that_changed_since_are_not_counted(copied, tmp_path):
    record = json.loads((copied / "record.json").read_text())
    record["runs"][0]["inputs"]["data"] = "0" * 64
    record["runs"][0]["inputs"]["initial weights"] = "0" * 64
    (copied / "record.json").write_text(json.dumps(record))
    publish(copied, tmp_path / "out")
    text = texts(tmp_path / "out")["README.md"]
    assert "What was in the data is not known" in text
    assert "begun with `models`, of which it is not known whether they are the same still" in text
    assert "### 1. `second`" in text


def begin_with_a_copy(trained, copied):
    """Let the second training begin with a fetched copy of the first one's model."""
    begun = copied.parent / "begun"
    fetch_model(str(trained.first / "models"), begun)
    settings = yaml.safe_load((copied / "config.yaml").read_text())
    settings["model"]["init"] = str(begun)
    (copied / "config.yaml").write_text(yaml.safe_dump(settings))
    return begun


def test_a_training_is_followed_through_a_copy_of_its_initial_model(trained, copied, tmp_path):
    begin_with_a_copy(trained, copied)
    publish(copied, tmp_path / "out")
    text = section(ModelCard.load(tmp_path / "out/README.md"), "## Training")
    assert "### 1. `first`" in text
    assert "begun with the model of `first`" in text


def test_a_model_that_was_begun_with_a_released_one_names_it(trained, copied, tmp_path):
    begun = begin_with_a_copy(trained, copied)
    source = json.loads((begun / "source.json").read_text())
    source |= {"source": "someone/base", "revision": "main", "commit": "c" * 40}
    (begun / "source.json").write_text(json.dumps(source))
    publish(copied, tmp_path / "out")
    card = ModelCard.load(tmp_path / "out/README.md")
    assert card.data.base_model == "someone/base"
    assert f"begun with `someone/base` at commit `{'c' * 40}`" in section(card, "## Training")
    assert "`someone/base`" in section(card, "## Licence")
    assert "whose licence binds as well" in section(card, "## Licence")


def refuses(source, out, message, terms=TERMS, scores=()):
    with pytest.raises(TidyVoiceError, match=message):
        write_folder(gather(source, scores, resamples=0), terms, out)
    assert not out.exists()


def test_scores_of_another_model_or_of_several_are_refused(copied, tmp_path):
    lineage = copied / "scores" / "dev.score.json"
    content = json.loads(lineage.read_text())
    content["steps"][0]["step"] = "fusion"
    lineage.write_text(json.dumps(content))
    refuses(copied, tmp_path / "out", "dev.score is a fusion of several systems")
    state = torch.load(copied / "models/avg_model.pt", weights_only=True)
    next(iter(state.values())).add_(1)
    torch.save(state, copied / "models/avg_model.pt")
    (copied / "models/verifier.json").unlink()
    refuses(copied, tmp_path / "out", "embeddings of another model", scores=["dev-llr"])


def test_confounded_results_say_so_and_are_no_part_of_the_index(copied, tmp_path):
    lineage = copied / "scores" / "dev.score.json"
    content = json.loads(lineage.read_text())
    listed = {"role": "trials", "path": "/a b/c.score"}
    remark = {"kind": "confounded", "reason": "separating", "one": listed}
    content["steps"][0]["remarks"] = [{**remark, "details": {"areas": {"language match": 0.75}}}]
    lineage.write_text(json.dumps(content))
    publish(copied, tmp_path / "out", "--scores", "dev")
    card = ModelCard.load(tmp_path / "out/README.md")
    assert "**Confounded.** Quality measures of" in section(card, "### dev")
    said = "quality measures alone separate targets from non-targets in the trials of c.score"
    assert f"- {said}: area under" in section(card, "### dev")
    assert card.data.eval_results is None


def test_scores_that_cannot_be_checked_say_so(copied, tmp_path):
    (copied / "scores" / "dev.score.json").unlink()
    publish(copied, tmp_path / "out", "--scores", "dev")
    card = ModelCard.load(tmp_path / "out/README.md")
    assert "Scores: system not known." in section(card, "### dev")
    assert "- the trials of dev.score against what made their scores: their origin is" in (
        section(card, "### dev")
    )
    assert "with these very weights was not checked" in section(card, "### dev")
    assert card.data.eval_results is None


def test_what_is_no_model_or_no_score_file_is_refused(trained, tmp_path):
    refuses(tmp_path, tmp_path / "out", "holds no avg_model.pt, model.safetensors or")
    refuses(trained.second, tmp_path / "out", "no score file 'eval.score'", scores=["eval"])
    fetch_model(str(trained.first / "models"), tmp_path / "fetched")
    refuses(tmp_path / "fetched", tmp_path / "out", "is no experiment", scores=["dev"])


def test_a_text_that_tells_of_the_machine_is_refused(trained, tmp_path):
    terms = Terms("ann/voices", "mit", about=f"From {trained.second.absolute()}.")
    refuses(trained.second, tmp_path / "out", "README.md would tell others of", terms)


def test_a_folder_that_is_another_model_is_not_written(trained, tmp_path, monkeypatch):
    def other(folder, network, frontend, speakers):
        changed = FrontendSettings(args={"window_type": "povey"})
        return save(folder, network, changed, speakers)

    save = folder.save_model_config
    monkeypatch.setattr(folder, "save_model_config", other)
    refuses(trained.first, tmp_path / "out", "is not the model that was read")


@pytest.mark.parametrize(
    ("repository", "licence", "message"),
    [("voices", "mit", "write OWNER/NAME"), ("ann/voices", "Apache 2.0", "as the Hub does")],
)
def test_terms_are_written_as_on_the_hub(repository, licence, message):
    with pytest.raises(TidyVoiceError, match=message):
        Terms(repository, licence)


def test_a_licence_is_nobodys_default(trained, tmp_path):
    result = CliRunner().invoke(app, ["hub", "push", str(trained.first), "ann/voices"])
    assert result.exit_code == 2
    assert "--licence" in result.output
    publish(trained.first, tmp_path / "out", "--licence", "other")
    assert "ask the publisher of this page" in texts(tmp_path / "out")["README.md"]


def test_paths_and_names_are_cut_to_what_others_may_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shown(tmp_path / "data/mini/finetune") == "mini/finetune"
    assert shown("data/mini/finetune") == "mini/finetune"
    assert shown("/home/ann/corpus") == "corpus"
    assert shown("../ann/corpus") == "corpus"
    known = ["/home/ann lee/exp/mean.npz"]
    text = "less the mean of 500 in /home/ann lee/exp/mean.npz, top 40 of data/mini/cohort.npz"
    assert without_folders(text, known) == "less the mean of 500 in mean.npz, top 40 of cohort.npz"
    said = "the trials of /home/ann lee/a.score and the cohort /x/c d/e.npz share 2 speakers"
    assert without_folders(said) == "the trials of a.score and the cohort e.npz share 2 speakers"
    said = "the trials of /a b/c against the mean of /d/e f: some speakers of the mean of /d/e f "
    said = without_folders(f"{said}are not known")
    assert said == "the trials of c against the mean of e f: some speakers of the mean of e f " + (
        "are not known"
    )


def test_probes_are_compared_bit_for_bit(trained, tmp_path):
    """A last bit of one weight is seen."""
    encoder = SpeakerEncoder.from_pretrained(trained.first / "models", "cpu")
    out = tmp_path / "out"
    write_folder(gather(trained.first, resamples=0), TERMS, out)
    bias = next(p for p in encoder.model.parameters() if p.ndim == 1)
    with torch.no_grad():
        bias[0] = float(np.nextafter(np.float32(bias[0].item()), np.float32(9)))
    changed = SpeakerEncoder(encoder.model, encoder.settings, "cpu")
    with pytest.raises(TidyVoiceError, match="is not the model that was read"):
        folder._refuse_another(changed, out)
