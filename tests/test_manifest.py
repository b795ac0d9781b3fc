import numpy as np
import pytest
import soundfile
from conftest import invoke, prepared

from tidyvoice.data.manifest import Manifest, check, terms_of
from tidyvoice.errors import TidyVoiceError
from tidyvoice.kaldi_tables import read_table


@pytest.fixture
def data(tmp_path):
    return prepared(tmp_path, speakers=3, utterances=2)


def test_a_corpus_becomes_kaldi_tables(data):
    corpus = data.parent / "corpus"
    utterance = "id000001/fr/fr_1.wav"
    assert f"{utterance} {corpus / utterance}\n" in (data / "wav.scp").read_text()
    assert f"{utterance} id000001\n" in (data / "utt2spk").read_text()
    assert f"{utterance} fr\n" in (data / "utt2lang").read_text()
    assert f"{utterance} 0.6\n" in (data / "utt2dur").read_text()
    assert f"id000001 id000001/en/en_0.wav {utterance}\n" in (data / "spk2utt").read_text()
    assert check(data) == []
    manifest = Manifest.read(data)
    manifest.write(data.parent / "copy", "CC0")
    assert terms_of(data) == []
    assert terms_of(data.parent / "copy") == ["CC0"]
    assert Manifest.read(data.parent / "copy").table.equals(manifest.table)
    assert manifest.speakers() == ["id000000", "id000001", "id000002"]
    assert len(manifest.select(["id000001"])) == 2


def test_the_checker_reports_every_problem_at_once(data):
    corpus = data.parent / "corpus"
    (corpus / "id000000/en/en_0.wav").unlink()
    (corpus / "id000000/fr/fr_1.wav").write_bytes(b"")
    (corpus / "id000001/en/en_0.wav").write_bytes(b"not audio at all")
    soundfile.write(corpus / "id000001/fr/fr_1.wav", np.zeros(8000), 8000)
    soundfile.write(corpus / "id000002/en/en_0.wav", np.zeros(100), 16000)
    with open(data / "spk2utt", "a") as file:
        file.write("stranger some/utt.wav\n")
    other = data.parent / "other"
    Manifest.read(data).select(["id000002"]).write(other)
    problems = check(data, disjoint_from=[other])
    expected = [
        "speaker stranger has other utterances in utt2spk than in spk2utt",
        f"speaker id000002 is in {data} and in {other}",
        "id000000/en/en_0.wav is missing",
        "id000000/fr/fr_1.wav is an empty file",
        "id000001/en/en_0.wav is not a readable audio",
        "id000001/fr/fr_1.wav has 8000 Hz, not 16000",
        "id000002/en/en_0.wav lasts 0.006 s, under the minimum 0.1 s",
    ]
    assert invoke("check", data, "--disjoint", other).stdout.splitlines() == problems
    assert len(problems) == len(expected)
    for problem, part in zip(problems, expected, strict=True):
        assert part in problem


@pytest.mark.parametrize(
    ("table", "line", "message"),
    [
        ("wav.scp", "id000000/en/en_0.wav x.wav", "id000000/en/en_0.wav occurs twice"),
        ("wav.scp", "new/en/a.wav x.wav", r"new/en/a.wav is not in .*utt2spk"),
        ("wav.scp", "id000000/en/en_0 x.wav", "id000000/en/en_0 occurs twice"),
        ("utt2lang", "a b\x01c", "line 7 has the control character"),
        ("utt2lang", "lonely", r"utt2lang line 7: expected 'id value'"),
    ],
)
def test_a_broken_table_is_named(data, table, line, message):
    with open(data / table, "a") as file:
        file.write(line + "\n")
    with pytest.raises(TidyVoiceError, match=message):
        Manifest.read(data)


def test_a_speaker_of_two_words_is_refused(data):
    table = data / "utt2spk"
    table.write_text(table.read_text().replace(" id000000\n", " id 0\n"))
    with pytest.raises(TidyVoiceError, match=r"white space in the speaker of id0+/en"):
        Manifest.read(data)


def test_a_path_may_hold_spaces(tmp_path):
    (tmp_path / "wav.scp").write_text("a /with some space/a.wav\n")
    assert read_table(tmp_path / "wav.scp", "path").row(0) == ("a", "/with some space/a.wav")
