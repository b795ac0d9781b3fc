"""Corpora of videos: m4a by ffmpeg, parts that are made one by one, unreadable files left out."""

import os
import shutil
import subprocess

import numpy as np
import pytest
import soundfile
from conftest import require, seeded

from tests.preloaded import run
from tidyvoice.audio import read_pcm16
from tidyvoice.config import DataSettings
from tidyvoice.data import packing
from tidyvoice.data.batches import TrainingData
from tidyvoice.data.manifest import Manifest, parse_part, part_folder, parts_of
from tidyvoice.data.packing import write_shards
from tidyvoice.data.shards import UNREADABLE, ShardReader
from tidyvoice.errors import TidyVoiceError
from tidyvoice.extraction.extract import Source


def corpus(root, speakers=5, ending=".wav", first=0):
    """SPEAKER/VIDEO/UTTERANCE of half a second and more, and the hidden files that lie about."""
    for speaker in range(first, first + speakers):
        for number in range(3):
            folder = root / f"id{speaker:05d}" / "video_é"
            folder.mkdir(parents=True, exist_ok=True)
            samples = seeded(speaker, number).standard_normal(8000 + 1000 * number) / 10
            wav = folder / f"{number:05d}.wav"
            soundfile.write(wav, samples, 16000)
            (folder / f"._{number:05d}{ending}").write_bytes(b"\0")
            if ending == ".m4a":
                command = ["ffmpeg", "-v", "error", "-i", wav, "-c:a", "aac", "-b:a", "64k"]
                subprocess.run([*command, wav.with_suffix(ending)], check=True)
                wav.unlink()
    return root


def prepare(module, *arguments):
    return run("python", "-m", f"local.{module}", *arguments)


def command(*arguments):
    return run("tidyvoice", *arguments)


def test_m4a_files_become_the_samples_that_they_hold(tmp_path):
    require(bool(shutil.which("ffmpeg")), "ffmpeg is not installed")
    root = corpus(tmp_path / "vox" / "dev" / "aac", speakers=2, ending=".m4a")
    done = prepare("voxceleb2", "--root", tmp_path / "vox", "--out", tmp_path / "data")
    assert done.stdout.startswith("VoxCeleb1 and VoxCeleb2: the metadata are CC BY 4.0")
    assert "2 speakers, 6 utterances" in done.stdout, done.stderr
    assert not (tmp_path / "data" / "utt2dur").exists()
    write_shards(tmp_path / "data")
    reader = ShardReader(tmp_path / "data")
    row = reader.keys.to_list().index("id00001/video_é/00002.m4a")
    original = seeded(1, 2).standard_normal(10000) / 10
    # The codec keeps the length up to its frames, and most of the waveform of noise at this rate.
    assert 0 <= reader.samples[row] - 10000 < 2048
    decoded = reader.read(row)[:10000] / 32768
    assert np.corrcoef(decoded[:10000], original)[0, 1] > 0.8
    # Extraction reads the shards where the tables know no durations.
    source = Source(tmp_path / "data")
    np.testing.assert_array_equal(source.read(row), reader.read(row))
    stereo = root / "id00000" / "video_é" / "stereo.m4a"
    both = np.stack([original, np.zeros(10000)], axis=1)
    soundfile.write(tmp_path / "stereo.wav", np.repeat(both, 3, axis=0), 48000)
    encode = ["ffmpeg", "-v", "error", "-i", tmp_path / "stereo.wav", "-c:a", "aac", stereo]
    subprocess.run(encode, check=True)
    first = read_pcm16(stereo)
    assert 0 <= first.size - 10000 < 2048  # 16 kHz
    assert np.abs(first).max() > 1000  # the first channel, not the mean with the silent one


def test_a_missing_ffmpeg_and_a_broken_m4a_are_named(tmp_path, monkeypatch):
    require(bool(shutil.which("ffmpeg")), "ffmpeg is not installed")
    path = tmp_path / "a.m4a"
    path.write_bytes(b"something")
    with pytest.raises(TidyVoiceError, match=r"a\.m4a cannot be decoded"):
        read_pcm16(path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TidyVoiceError, match=r"a\.m4a needs ffmpeg"):
        read_pcm16(path)


def test_parts_are_made_by_themselves_and_read_as_one(tmp_path):
    root, out = corpus(tmp_path / "vb"), tmp_path / "data"
    for number in (3, 1):
        done = prepare("voxblink2", "--root", root, "--out", out, "--part", f"{number}/3")
        assert done.returncode == 0, done.stderr
        assert command("shards", out, "--part", f"{number}/3").returncode == 0
    with pytest.raises(TidyVoiceError, match=r"lacks part-002-of-003"):
        ShardReader(out)
    assert prepare("voxblink2", "--root", root, "--out", out, "--part", "2/3").returncode == 0
    with pytest.raises(TidyVoiceError, match=r"part-002-of-003/shards is missing or unfinished"):
        ShardReader(out)
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

    one = prepare("voxblink2", "--root", root, "--out", tmp_path / "one", "--part", "1/1")
    assert one.returncode == 0, one.stderr
    assert sorted(reader.keys) == Manifest.read(tmp_path / "one").table["utterance"].to_list()


def test_two_corpora_are_trained_on_as_one(tmp_path):
    for name, prefix in (("a", ""), ("b", "vb2-"), ("c", "")):
        root = corpus(tmp_path / name)
        done = prepare("voxceleb2", "--root", root, "--out", tmp_path / f"{name}.data",
                       "--prefix", prefix)  # fmt: skip
        assert done.returncode == 0, done.stderr
        write_shards(tmp_path / f"{name}.data")
    settings = DataSettings(
        train=[tmp_path / "a.data", tmp_path / "b.data"], min_seconds=0, batch_size=8
    )
    data = TrainingData(settings, 4000, seed=1)
    assert len(data.speakers) == 10
    assert data.num_utterances == 30
    assert data.reader.content != ShardReader(tmp_path / "a.data").content
    assert data[0].samples.shape[0] == 8
    with pytest.raises(TidyVoiceError, match=r"'id00000' is in .*a\.data and in .*c\.data \(5"):
        ShardReader(tmp_path / "a.data", tmp_path / "c.data")


def test_a_divided_folder_is_whole_or_refused(tmp_path):
    assert parts_of(tmp_path / "plain") == [tmp_path / "plain"]
    assert part_folder("x", 1, 1).name == "x"
    for number in (1, 2):
        part_folder(tmp_path, number, 2).mkdir()
    assert [path.name for path in parts_of(tmp_path)] == ["part-001-of-002", "part-002-of-002"]
    part_folder(tmp_path, 3, 4).mkdir()
    with pytest.raises(TidyVoiceError, match="has parts of 2 and of 4"):
        parts_of(tmp_path)
    for text in ("0/3", "4/3", "3", "a/b", "-1/3", ""):
        with pytest.raises(TidyVoiceError, match="write 3/16 for the third"):
            parse_part(text)


def test_unreadable_files_are_left_out_up_to_a_share(tmp_path):
    root, data = corpus(tmp_path / "vox"), tmp_path / "data"
    assert prepare("voxceleb2", "--root", root, "--out", data).returncode == 0
    spoilt = root / "id00003" / "video_é" / "00001.wav"
    content = spoilt.read_bytes()
    spoilt.write_bytes(b"RIFF nonsense")
    with pytest.raises(TidyVoiceError, match=r"00001\.wav cannot be read"):
        write_shards(data, per_shard=4)
    with pytest.raises(TidyVoiceError, match=r"1 of 15 files are unreadable, --tolerate 0\.05 al"):
        write_shards(data, per_shard=4, tolerate=0.05)
    done = command("shards", data, "--per-shard", 4, "--tolerate", 0.1)
    assert "14 utterances in 4 shards written, 1 unreadable files left out" in done.stdout
    lines = (data / "shards" / UNREADABLE).read_text().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("id00003/video_é/00001.wav ")
    assert "cannot be read as audio" in lines[0]
    assert len(ShardReader(data)) == 14
    assert write_shards(data, per_shard=4).unreadable == 1
    spoilt.write_bytes(content)
    assert write_shards(data, per_shard=4).utterances == 15


def test_a_refused_share_keeps_the_other_shards(tmp_path, monkeypatch):
    root, data = corpus(tmp_path / "vox"), tmp_path / "data"
    assert prepare("voxceleb2", "--root", root, "--out", data).returncode == 0
    spoilt = root / "id00003" / "video_é" / "00001.wav"
    content, times = spoilt.read_bytes(), os.stat(spoilt)
    spoilt.write_bytes(bytes(len(content)))
    os.utime(spoilt, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(TidyVoiceError, match="1 of 15 files are unreadable"):
        write_shards(data, per_shard=4, tolerate=0.01)
    spoilt.write_bytes(content)
    os.utime(spoilt, ns=(times.st_atime_ns, times.st_mtime_ns))
    seen, read = [], packing.read_pcm16
    monkeypatch.setattr(packing, "read_pcm16", lambda path: seen.append(path) or read(path))
    assert write_shards(data, per_shard=4, tolerate=0.01).utterances == 15
    assert len(seen) <= 4


def test_an_interrupted_pack_resumes_with_its_list_of_unreadable_files(tmp_path, monkeypatch):
    root, data = corpus(tmp_path / "vox"), tmp_path / "data"
    assert prepare("voxceleb2", "--root", root, "--out", data).returncode == 0
    (root / "id00000" / "video_é" / "00000.wav").write_bytes(b"RIFF nonsense")
    seen, read = [], packing.read_pcm16

    def interrupted(path):
        seen.append(path)
        if len(seen) > 12:
            raise KeyboardInterrupt
        return read(path)

    monkeypatch.setattr(packing, "read_pcm16", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_shards(data, per_shard=4, threads=1, tolerate=0.5)
    monkeypatch.setattr(packing, "read_pcm16", read)
    made = write_shards(data, per_shard=4, tolerate=0.5)
    assert (made.utterances, made.unreadable) == (14, 1)
    assert len((data / "shards" / UNREADABLE).read_text().splitlines()) == 1
