"""Corpora of videos: parts that are made one by one, unreadable files left out."""

from unittest.mock import Mock

import numpy as np
import pytest
import soundfile
from conftest import refused, seeded

from tests.local.corpora import call
from tests.preloaded import run
from tidyvoice.audio import read_pcm16
from tidyvoice.config import DataSettings
from tidyvoice.data import packing
from tidyvoice.data.batches import TrainingData
from tidyvoice.data.manifest import parse_part, part_folder, parts_of, scan
from tidyvoice.data.packing import UNREADABLE, write_shards
from tidyvoice.data.shards import ShardReader
from tidyvoice.errors import TidyVoiceError


def corpus(root, speakers=5):
    """SPEAKER/VIDEO/UTTERANCE of half a second and more, and the hidden files that lie about."""
    for speaker in range(speakers):
        for number in range(3):
            folder = root / f"id{speaker:05d}" / "video_é"
            folder.mkdir(parents=True, exist_ok=True)
            samples = seeded(speaker, number).standard_normal(8000 + 1000 * number) / 10
            soundfile.write(folder / f"{number:05d}.wav", samples, 16000)
            (folder / f"._{number:05d}.wav").write_bytes(b"\0")
    return root


def command(*arguments):
    return run("tidyvoice", *arguments)


def test_a_missing_ffmpeg_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.m4a").write_bytes(b"something")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "a.m4a needs ffmpeg" in refused(read_pcm16, tmp_path / "a.m4a")


def test_parts_are_made_by_themselves_and_read_as_one(tmp_path):
    root, out = corpus(tmp_path / "vb"), tmp_path / "data"
    for number in (3, 1):
        done = call("voxblink2", "--root", root, "--out", out, "--part", f"{number}/3")
        assert done.returncode == 0, done.stderr
        assert command("shards", out, "--part", f"{number}/3").returncode == 0
    assert "lacks part-002-of-003" in refused(ShardReader, out)
    assert call("voxblink2", "--root", root, "--out", out, "--part", "2/3").returncode == 0
    assert "part-002-of-003/shards is missing or unfinished" in refused(ShardReader, out)
    done = command("shards", out)
    assert done.stdout.count("already up to date") == 2, done.stderr
    assert done.stdout.count("written") == 1
    reader = ShardReader(out)
    assert len(reader) == 15
    assert reader.speakers.n_unique() == 5
    assert reader.speakers.cast(str).str.starts_with("vb2-id").all()
    for row, key in enumerate(reader.keys):
        expected = read_pcm16(root / key.removeprefix("vb2-"))
        np.testing.assert_array_equal(reader.read(row), expected)


def test_two_corpora_are_trained_on_as_one(tmp_path):
    folders = [tmp_path / name for name in ("a.data", "b.data", "c.data")]
    for out, prefix in zip(folders, ("", "vb2-", ""), strict=True):
        scan(corpus(tmp_path / out.stem), language_folder=False, prefix=prefix).write(out)
        write_shards(out)
    data = TrainingData(DataSettings(train=folders[:2], min_seconds=0, batch_size=8), 4000, seed=1)
    assert (len(data.speakers), data.num_utterances) == (10, 30)
    assert data.reader.content != ShardReader(folders[0]).content
    assert data[0].samples.shape[0] == 8
    with pytest.raises(TidyVoiceError, match=r"'id00000' is in .*a\.data and in .*c\.data \(5"):
        ShardReader(folders[0], folders[2])


def test_a_divided_folder_is_whole_or_refused(tmp_path):
    for number in (1, 2):
        part_folder(tmp_path, number, 2).mkdir()
    part_folder(tmp_path, 3, 4).mkdir()
    assert "is divided twice" in refused(parts_of, tmp_path)
    (tmp_path / "part-1-of-abc").mkdir()
    assert "parts with names of another kind" in refused(parts_of, tmp_path)
    for text in ("0/3", "4/3", "a/b"):
        assert "write 3/16 for the third" in refused(parse_part, text)


def test_unreadable_files_are_left_out_up_to_a_share(tmp_path):
    root, data = corpus(tmp_path / "vox"), tmp_path / "data"
    scan(root, language_folder=False).write(data)
    spoilt = root / "id00003" / "video_é" / "00001.wav"
    content = spoilt.read_bytes()
    spoilt.write_bytes(b"RIFF nonsense")
    assert "00001.wav is not a readable audio" in refused(write_shards, data, per_shard=4)
    with pytest.raises(TidyVoiceError, match=r"1 of 15 files are unreadable, --tolerate 0\.05 al"):
        write_shards(data, per_shard=4, tolerate=0.05)
    # The shards without an unreadable file stay, and the list survives an interruption.
    assert len(list(data.glob("*.partial/*.parquet"))) == 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "write_text", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            write_shards(data, per_shard=4, tolerate=0.5)
    done = command("shards", data, "--per-shard", 4, "--tolerate", 0.1)
    assert "14 utterances in 4 shards written, 1 unreadable files left out" in done.stdout
    lines = (data / "shards" / UNREADABLE).read_text().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("id00003/video_é/00001.wav ")
    assert "is not a readable audio" in lines[0]
    assert len(ShardReader(data)) == 14
    assert write_shards(data, per_shard=4, tolerate=0.1).unreadable == 1
    assert "1 of 15 files are unreadable" in refused(write_shards, data, per_shard=4)
    spoilt.write_bytes(content)
    assert write_shards(data, per_shard=4).utterances == 15
