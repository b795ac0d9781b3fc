from pathlib import Path

import pytest
from conftest import prepared

from tidyvoice.doctor.expected import Expected, Quantity, compare, load_expected
from tidyvoice.errors import TidyVoiceError
from tidyvoice.manifest import Manifest

PUBLISHED = Path(__file__).parents[2] / "conf/tidyvoice/expected.yaml"


def test_the_published_counts_are_those_of_the_challenge():
    expected = load_expected(PUBLISHED)
    train, dev = expected.corpora["TidyVoiceX train"], expected.corpora["TidyVoiceX dev"]
    assert train.folders == ("finetune", "calib")
    assert (train.speakers.about, train.utterances.about) == (3666, 262268)
    assert (dev.speakers.about, dev.utterances.about) == (808, 59443)
    assert train.hours.holds(371.9)
    assert not train.hours.holds(380)
    assert not train.speakers.holds(3665)
    assert expected.trials["TidyVocieX_Dev_trialPairs.txt"].lines == 12_000_000
    assert not expected.credentials["MDC_API_KEY"].optional
    assert expected.credentials["HF_TOKEN"].optional


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("corpra: {}", "unknown key corpra: did you mean corpora?"),
        (
            "corpora: {A: {folders: [a], speaker: 3}}",
            "unknown key corpora.A.speaker: did you mean corpora.A.speakers?",
        ),
        (
            "corpora: {A: {folders: [a], hours: {about: 3, withn: 1}}}",
            "unknown key corpora.A.hours.withn: did you mean corpora.A.hours.within?",
        ),
        ("corpora: {A: {speakers: 3}}", "the key corpora.A.folders is missing"),
        ("corpora: {A: {folders: []}}", "corpora.A.folders"),
        ("corpora: {A: {folders: [a], hours: many}}", "corpora.A.hours"),
        ("corpora: {A: {folders: [a], hours: true}}", "corpora.A.hours"),
        ("trials: {a.txt: {line: 3}}", "did you mean trials.a.txt.lines?"),
        ("credentials: {KEY: {purpos: x}}", "did you mean credentials.KEY.purpose?"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_the_nearest_key(tmp_path, text, message):
    path = tmp_path / "expected.yaml"
    path.write_text(text)
    with pytest.raises(TidyVoiceError) as error:
        load_expected(path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


def test_a_quantity_is_exact_or_within_a_fraction():
    assert Quantity.model_validate(10).holds(10)
    assert not Quantity.model_validate(10).holds(10.5)
    assert Quantity(about=100, within=0.1).holds(110)
    assert not Quantity(about=100, within=0.1).holds(110.1)
    assert str(Quantity(about=1092009)) == "1,092,009"
    assert str(Quantity(about=370, within=0.01)) == "370 ± 1%"


def test_a_corpus_is_all_of_its_folders_together(tmp_path):
    manifest = Manifest.read(prepared(tmp_path, speakers=3, utterances=2))
    parts = {
        tmp_path / "train": manifest.select(["id000000", "id000001"]),
        tmp_path / "calib": manifest.select(["id000002"]),
    }
    hours = manifest.table["seconds"].sum() / 3600
    values = {
        "A": {"folders": ["train", "calib"], "speakers": 3, "hours": hours, "languages": 2},
        "B": {"folders": ["train"], "utterances": 5},
        "C": {"folders": ["calib"], "speakers": {"about": 1.2, "within": 0.1}},
        "D": {"folders": ["dev"], "speakers": 9},
    }
    corpora = Expected.model_validate({"corpora": values}).corpora
    found = compare(corpora, parts)
    assert [finding.status for finding in found] == ["OK", "OK", "OK", "FAIL", "FAIL"]
    assert str(found[0]) == "OK    A: 3 speakers (expected 3)"
    assert "FAIL  B: 4 utterances (expected 5): some of it is missing" in str(found[3])
    assert "FAIL  C: 1 speakers (expected 1.2 ± 10%)" in str(found[4])
    (finding, *_) = compare(corpora, {tmp_path / "train": manifest})
    assert str(finding).startswith("WARN  A: calib not looked at: give it with --data")
    assert "more than one corpus" in str(compare(corpora, {tmp_path / "train": manifest})[1])
