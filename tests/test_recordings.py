import shutil
import subprocess
import tracemalloc

import numpy as np
import pytest
import soundfile
from conftest import require, seeded

from tidyvoice import recordings as module
from tidyvoice.audio import decoded, decoded_channels, read_pcm16
from tidyvoice.errors import TidyVoiceError
from tidyvoice.recordings import Recording, levels

RATE = 16000


def speech(seconds=3.0, rate=RATE, level=0.1):
    """Noise in syllables, four a second."""
    time = np.arange(int(seconds * rate)) / rate
    envelope = 0.5 - 0.5 * np.cos(2 * np.pi * 4 * time)
    return level * envelope * seeded(1).standard_normal(len(time))


def tone(hertz, rate, seconds=2.0):
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


def test_a_16_bit_wav_is_read_as_extraction_reads_it(tmp_path):
    soundfile.write(tmp_path / "a.wav", speech(), RATE, subtype="PCM_16")
    recording = Recording.load(tmp_path / "a.wav")
    np.testing.assert_array_equal(recording.samples, read_pcm16(tmp_path / "a.wav") / 32768)
    assert recording.seconds == 3.0
    assert recording.warnings == ()


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
def test_any_rate_becomes_16_khz(rate):
    found = Recording.load(tone(1000, rate), sample_rate=rate).samples
    wanted = tone(1000, RATE)
    assert abs(len(found) - len(wanted)) <= 1
    middle = slice(2000, -2000)
    np.testing.assert_allclose(found[middle], wanted[: len(found)][middle], atol=2e-3)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "PCM_U8", "ULAW"])
def test_any_sample_format_gives_the_same_waveform(tmp_path, subtype):
    soundfile.write(tmp_path / "a.wav", speech(), RATE, subtype=subtype)
    tolerance = 0.02 if subtype in ("PCM_U8", "ULAW") else 1e-4
    found = Recording.load(tmp_path / "a.wav").samples
    np.testing.assert_allclose(found, speech(), atol=tolerance)


@pytest.mark.parametrize("extension", ["flac", "ogg", "mp3"])
def test_what_libsndfile_reads(tmp_path, extension):
    soundfile.write(tmp_path / f"a.{extension}", speech(rate=44100), 44100)
    recording = Recording.load(tmp_path / f"a.{extension}")
    assert recording.seconds == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize("extension", ["m4a", "mp4", "webm"])
def test_what_ffmpeg_reads(tmp_path, extension):
    require(shutil.which("ffmpeg") is not None, "ffmpeg is not installed")
    soundfile.write(tmp_path / "a.wav", speech(rate=48000), 48000)
    command = ["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", tmp_path / f"a.{extension}"]
    subprocess.run(command, check=True)
    recording = Recording.load(tmp_path / f"a.{extension}")
    assert recording.seconds == pytest.approx(3.0, abs=0.1)


def test_what_needs_ffmpeg_says_so_without_it(tmp_path, monkeypatch):
    (tmp_path / "a.m4a").write_bytes(b"\0" * 1000)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(TidyVoiceError, match=r"a\.m4a cannot be read .* apt install ffmpeg"):
        Recording.load(tmp_path / "a.m4a")


@pytest.mark.parametrize(
    "scale", [(np.int16, 32767), (np.int32, 2**31 - 1), (np.float64, 1), (np.float16, 1)]
)
def test_samples_of_any_type(scale):
    kind, largest = scale
    found = Recording.load((speech() * largest).astype(kind), RATE).samples
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, speech(), atol=1e-3)


def test_unsigned_samples():
    found = Recording.load(np.round(speech() * 127 + 128).astype(np.uint8), RATE).samples
    np.testing.assert_allclose(found, speech(), atol=0.02)


def test_channels_lie_on_the_shorter_side():
    both = np.stack([speech(), 0.5 * speech()])
    for samples in (both, both.T):
        np.testing.assert_allclose(Recording.load(samples, RATE).samples, speech(), atol=1e-6)
        second = Recording.load(samples, RATE, channel=2).samples
        np.testing.assert_allclose(second, 0.5 * speech(), atol=1e-6)
    with pytest.raises(TidyVoiceError, match=r"there is no channel 3 \(channels: 2\)"):
        Recording.load(both, RATE, channel=3)


def test_a_silent_channel_names_the_other():
    samples = np.stack([np.zeros(3 * RATE), speech()])
    with pytest.raises(TidyVoiceError, match="is silent in channel 1: take channel 2"):
        Recording.load(samples, RATE)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(3 * RATE), "is silent"),
        (np.full(3 * RATE, 0.3), "is silent"),  # an offset is no sound
        (1e-4 * speech(10), "is silent"),
        (speech(0.2), "lasts 0.20 s"),
        (np.append(np.zeros(8 * RATE), speech(0.2)), r"holds 0\.\d\d s of sound in 8.2 s"),
        (np.array([]), "are no samples"),
        (np.zeros((2, 2, 2)), "are no samples"),
        (np.full(3 * RATE, np.nan), "NaN"),
        (speech() * 32768, "divide 16-bit ones by 32768"),
        (np.array(["a"]), "are no samples"),
        ((speech() * 32767).astype(np.int64), "int64 does not tell .* give int16, int32 or floats"),
    ],
)
def test_what_holds_no_voice_is_an_error(samples, message):
    with pytest.raises(TidyVoiceError, match=message) as error:
        Recording.load(samples, RATE)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (speech(0.7), "holds only"),
        ((speech() * 30).clip(-1, 1), "is clipped"),
        ((speech() * 30).clip(-0.7, 0.7), "is clipped"),  # turned down afterwards
        (0.1 * seeded(1).standard_normal(3 * RATE), "one level throughout"),
    ],
)
def test_what_is_a_poor_witness_is_said(samples, message):
    (said,) = Recording.load(samples, RATE, name="it").warnings
    assert message in said
    assert said.startswith("it ")


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "ogg"])
def test_clipping_is_noticed_in_any_format(kind, tmp_path):
    path = tmp_path / f"a.{kind}"
    soundfile.write(path, (speech() * 30).clip(-1, 1), RATE)
    (said,) = Recording.load(path).warnings
    assert "is clipped" in said
    soundfile.write(path, speech(), RATE)
    assert Recording.load(path).warnings == ()


def test_samples_need_a_rate_and_files_have_one(tmp_path):
    with pytest.raises(TidyVoiceError, match="give sample_rate"):
        Recording.load(speech())
    soundfile.write(tmp_path / "a.wav", speech(), RATE)
    with pytest.raises(TidyVoiceError, match="leave sample_rate out"):
        Recording.load(tmp_path / "a.wav", sample_rate=RATE)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.write_bytes(b"no sound"), "cannot be decoded"),
    ],
)
def test_an_unfit_file_is_named(tmp_path, make, message):
    require(shutil.which("ffmpeg") is not None, "ffmpeg is not installed")
    make(tmp_path / "a.wav")
    with pytest.raises(TidyVoiceError, match=message) as error:
        Recording.load(tmp_path / "a.wav")
    assert str(tmp_path / "a.wav") in str(error.value)


def test_a_wav_cut_short_is_named(tmp_path):
    soundfile.write(tmp_path / "a.wav", speech(), RATE, subtype="PCM_16")
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TidyVoiceError, match="cut short"):
        Recording.load(tmp_path / "a.wav")


def test_levels_are_in_decibels_below_full_scale():
    sine = np.sin(2 * np.pi * 400 * np.arange(RATE) / RATE)
    np.testing.assert_allclose(levels(sine.astype(np.float32)), -3.01, atol=0.01)
    np.testing.assert_allclose(levels((0.1 * sine + 0.5).astype(np.float32)), -23.01, atol=0.02)


def test_levels_of_a_long_recording_take_little_memory(monkeypatch):
    samples = speech(120).astype(np.float32)
    tracemalloc.start()
    found = levels(samples)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Sums of a block in float64, a handful of them at once, rather than of all samples.
    assert most < 5 * 8 * module.BLOCK * module.SHIFT < 5 * 8 * len(samples)
    monkeypatch.setattr(module, "BLOCK", len(samples))
    np.testing.assert_allclose(found, levels(samples), atol=1e-6)


def ffmpeg(*arguments):
    require(shutil.which("ffmpeg") is not None, "ffmpeg is not installed")
    subprocess.run(["ffmpeg", "-v", "error", *map(str, arguments)], check=True)


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {}\n",
    ],
)
def test_a_playlist_does_not_have_other_files_read(tmp_path, text):
    soundfile.write(tmp_path / "a.wav", speech(), RATE)
    ffmpeg("-i", tmp_path / "a.wav", tmp_path / "private.ts")
    name = "private.ts" if text.startswith("ff") else tmp_path / "private.ts"
    (tmp_path / "up.wav").write_text(text.format(name))
    with pytest.raises(TidyVoiceError, match=r"up\.wav cannot be decoded \(not a supported"):
        Recording.load(tmp_path / "up.wav")


def test_channels_of_what_ffmpeg_reads(tmp_path):
    second = tone(1000, RATE, 3.0) * (np.arange(3 * RATE) % 8000 > 4000)
    soundfile.write(tmp_path / "a.wav", np.stack([speech(), second], 1), RATE)
    ffmpeg("-i", tmp_path / "a.wav", tmp_path / "a:b.m4a")
    path = tmp_path / "a:b.m4a"
    first = Recording.load(path).samples
    np.testing.assert_array_equal(first, read_pcm16(path) / np.float32(32768))
    found = Recording.load(path, channel=2).samples[: len(second)]
    assert np.corrcoef(found, second)[0, 1] > 0.9
    with pytest.raises(TidyVoiceError, match=r"there is no channel 3 \(channels: 2\)"):
        Recording.load(path, channel=3)


@pytest.mark.parametrize("rate", [RATE, 44100])
def test_an_empty_file_lasts_no_time(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), rate)
    with pytest.raises(TidyVoiceError, match=r"lasts 0\.00 s"):
        Recording.load(tmp_path / "a.wav")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_file_with_numbers_that_are_none_is_named(tmp_path, bad):
    soundfile.write(tmp_path / "a.wav", np.append(speech(), bad), RATE, subtype="FLOAT")
    with pytest.raises(TidyVoiceError, match=r"a\.wav: some samples are NaN or infinite"):
        Recording.load(tmp_path / "a.wav")


def test_a_rate_is_whole():
    assert Recording.load(speech(rate=44100), 44100.0).seconds == pytest.approx(3.0)
    for rate in (44100.5, np.nan, np.inf):
        with pytest.raises(TidyVoiceError, match="in whole Hz"):
            Recording.load(speech(), rate)


@pytest.mark.parametrize(
    "extension",
    ["aac", "aiff", "au", "caf", "flac", "m4a", "mkv", "mp3", "mp4", "ogg", "ts", "wav", "wma"],
)
def test_formats_that_ffmpeg_may_read(tmp_path, extension):
    soundfile.write(tmp_path / "a.flac", speech(), RATE)
    ffmpeg("-i", tmp_path / "a.flac", tmp_path / f"b.{extension}")
    samples = decoded(tmp_path / f"b.{extension}")
    assert samples.size == pytest.approx(3 * RATE, rel=0.1)
    np.testing.assert_array_equal(decoded_channels(tmp_path / f"b.{extension}")[:, 0], samples)
