import json
import re
import shutil
import tarfile
from unittest.mock import DEFAULT, Mock

import numpy as np
import polars as pl
import pytest
import soundfile
from conftest import invoke, prepared, succeed

from tidyvoice.audio import read_pcm16
from tidyvoice.data import packing as module
from tidyvoice.data.manifest import Manifest
from tidyvoice.data.packing import write_shards
from tidyvoice.data.shards import ShardReader
from tidyvoice.errors import TidyVoiceError


@pytest.fixture
def data(tmp_path):
    return prepared(tmp_path, speakers=3, utterances=3)


def test_any_part_of_any_utterance_is_read_back(data):
    made = write_shards(data, per_shard=4)
    assert (made.shards, made.utterances, made.up_to_date) == (3, 9, False)
    reader = ShardReader(data)
    table = Manifest.read(data).table
    assert sorted(reader.keys) == table["utterance"].to_list()
    for row, key in enumerate(reader.keys):
        source = table.row(by_predicate=pl.col("utterance") == key, named=True)
        samples = read_pcm16(source["path"])
        np.testing.assert_array_equal(reader.read(row), samples)
        np.testing.assert_array_equal(reader.read(row, 1234, 777), samples[1234:2011])
        assert reader.speakers[row] == source["speaker"]
        assert reader.languages[row] == source["language"]


def test_the_tar_is_one_that_other_tools_read(data):
    write_shards(data, per_shard=100)
    with tarfile.open(data / "shards" / "shard-000000.tar") as tar:
        names = tar.getnames()
        assert len(names) == 18
        for speaker, wav in zip(names[::2], names[1::2], strict=True):
            key = speaker.removesuffix(".spk")
            assert wav == f"{key}.wav"
            assert tar.extractfile(speaker).read().decode() == key.split("/")[0]
            samples, rate = soundfile.read(tar.extractfile(wav), dtype="int16")
            assert rate == 16000
            assert samples.size > 0


def test_shards_are_written_once_and_again_for_other_settings_or_files(data):
    write_shards(data, per_shard=4)
    first = {p.name: p.read_bytes() for p in (data / "shards").iterdir()}
    assert write_shards(data, per_shard=4).up_to_date
    shutil.rmtree(data / "shards")
    write_shards(data, per_shard=4, threads=1)
    assert {p.name: p.read_bytes() for p in (data / "shards").iterdir()} == first
    assert write_shards(data, per_shard=9).shards == 1
    assert [p.name for p in (data / "shards").glob("*.tar")] == ["shard-000000.tar"]
    assert not list(data.glob("*.partial"))
    wav = next((data.parent / "corpus").rglob("*.wav"))
    content = ShardReader(data).content
    soundfile.write(wav, 0.5 * soundfile.read(wav)[0], 16000)
    assert not write_shards(data, per_shard=9).up_to_date
    assert ShardReader(data).content != content


def test_an_interrupted_run_keeps_its_whole_shards(data, monkeypatch):
    reader = Mock(wraps=module.read_pcm16)
    monkeypatch.setattr(module, "read_pcm16", reader)
    reader.side_effect = [DEFAULT] * 6 + [KeyboardInterrupt]
    with pytest.raises(KeyboardInterrupt):
        write_shards(data, per_shard=4, threads=1)
    assert not (data / "shards").exists()
    assert len(list(data.glob("*.partial/*.tar"))) == 1
    reader.reset_mock(side_effect=True)
    write_shards(data, per_shard=4)
    assert reader.call_count == 5
    assert len(ShardReader(data)) == 9


def flipped(content):
    return content[:3000] + bytes([content[3000] ^ 1]) + content[3001:]


@pytest.mark.parametrize(
    ("name", "change", "message", "repacked"),
    [
        ("shards/shard-000001.tar", lambda _: b"", r"shard-000001\.tar .*it has 0 bytes", 4),
        ("shards/index.parquet", flipped, "not a readable index .other bytes", 0),
        ("shards/shards.json", lambda _: b'{"shards": 3}', "the key format is missing", 9),
        ("utt2lang", lambda old: old.replace(b" fr", b" de"), "packed from other tables", 9),
    ],
)
def test_what_does_not_belong_together_is_refused_and_packed_again(
    data, monkeypatch, name, change, message, repacked
):
    write_shards(data, per_shard=4)
    (data / name).write_bytes(change((data / name).read_bytes()))
    with pytest.raises(TidyVoiceError, match=f"{message}.*run `tidyvoice shards` again"):
        ShardReader(data)
    assert invoke("check", data).exit_code == 1
    reader = Mock(wraps=module.read_pcm16)
    monkeypatch.setattr(module, "read_pcm16", reader)
    assert not write_shards(data, per_shard=4).up_to_date
    assert reader.call_count == repacked
    assert "no problem" in succeed("check", data, "--thorough")


def test_other_samples_than_those_packed_are_an_error(data):
    write_shards(data, per_shard=4)
    shard = data / "shards/shard-000001.tar"
    shard.write_bytes(flipped(shard.read_bytes()))
    message = r"shard-000001\.tar: the samples of \S+ are not those that were packed"
    with pytest.raises(TidyVoiceError, match=message):
        ShardReader(data).check_sample()
    assert "no problem" in succeed("check", data)
    (problem,) = json.loads(invoke("check", data, "--thorough", "--json").stdout)["problems"]
    assert re.search(message, problem)
    shutil.move(data / "shards", data.parent / "moved/shards")
    assert len(ShardReader(data.parent / "moved")) == 9


@pytest.mark.parametrize(
    ("subtype", "channels"), [("PCM_16", 2), ("PCM_24", 1), ("FLOAT", 2)], ids=str
)
def test_a_wav_of_another_form_is_packed_by_its_first_channel(data, subtype, channels):
    wav = next((data.parent / "corpus").rglob("*.wav"))
    mono = soundfile.read(wav, dtype="int16")[0]
    samples = np.stack([mono, np.zeros_like(mono)], axis=1)[:, :channels]
    soundfile.write(wav, samples / 32768, 16000, subtype=subtype)
    write_shards(data)
    reader = ShardReader(data)
    row = reader.keys.to_list().index(str(wav.relative_to(data.parent / "corpus")))
    assert np.abs(reader.read(row).astype(int) - mono).max() <= 1
