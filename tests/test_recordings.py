import re
import shutil
import subprocess
import tracemalloc

import numpy as np
import pytest
import soundfile
from conftest import require, seeded

from tidyvoice import recordings as module
from tidyvoice.audio import decoded_channels, read_pcm16
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
    assert Recording.load(recording) is recording


def test_a_segment_is_a_part_of_the_recording(tmp_path):
    samples = np.stack([speech(), 0.5 * speech()], axis=1)
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="PCM_16")
    expected = read_pcm16(tmp_path / "a.wav") / 32768
    for start, end in ((0, 1.5), (1.25, None), (0.5, 2.5)):
        part = expected[round(start * RATE) : round((end or 3) * RATE)]
        file = Recording.load(tmp_path / "a.wav", start=start, end=end)
        np.testing.assert_array_equal(file.samples, part)
        array = Recording.load(expected, RATE, start=start, end=end)
        np.testing.assert_array_equal(array.samples, part.astype(np.float32))
    second = Recording.load(tmp_path / "a.wav", channel=1, start=1, end=2).samples
    np.testing.assert_allclose(second, expected[RATE : 2 * RATE] / 2, atol=1e-4)
    for start, end in ((-1, None), (2, 1), (1, 3.5), (4, None)):
        for source, rate in ((tmp_path / "a.wav", None), (expected, RATE)):
            with pytest.raises(TidyVoiceError, match=f"no segment from {start} s .* lasts 3.00 s"):
                Recording.load(source, rate, start=start, end=end)


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


def ffmpeg(*arguments):
    require(shutil.which("ffmpeg") is not None, "ffmpeg is not installed")
    subprocess.run(["ffmpeg", "-v", "error", *map(str, arguments)], check=True)


@pytest.mark.parametrize("extension", ["m4a", "mp4", "webm"])
def test_files_that_ffmpeg_reads(tmp_path, extension):
    soundfile.write(tmp_path / "a.wav", speech(rate=48000), 48000)
    ffmpeg("-i", tmp_path / "a.wav", tmp_path / f"a.{extension}")
    assert Recording.load(tmp_path / f"a.{extension}").seconds == pytest.approx(3.0, abs=0.1)
    segment = Recording.load(tmp_path / f"a.{extension}", start=1, end=2)
    assert segment.seconds == pytest.approx(1.0, abs=0.01)


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
    unsigned = np.round(speech() * 127 + 128).astype(np.uint8)
    np.testing.assert_allclose(Recording.load(unsigned, RATE).samples, speech(), atol=0.02)


def test_channels_lie_on_the_shorter_side():
    both = np.stack([speech(), 0.5 * speech()])
    for samples in (both, both.T):
        np.testing.assert_allclose(Recording.load(samples, RATE).samples, speech(), atol=1e-6)
        second = Recording.load(samples, RATE, channel=1).samples
        np.testing.assert_allclose(second, 0.5 * speech(), atol=1e-6)
    with pytest.raises(TidyVoiceError, match=r"no channel 2; give a channel from 0 to 1"):
        Recording.load(both, RATE, channel=2)
    with pytest.raises(TidyVoiceError, match="is silent in channel 0: use channel 1"):
        Recording.load(np.stack([np.zeros(3 * RATE), speech()]), RATE)


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
        (speech() * 32768, "divide 16-bit samples by 32768"),
        (np.array(["a"]), "are no samples"),
        (
            (speech() * 32767).astype(np.int64),
            "scale of int64 is unknown: give int16, int32 or floats",
        ),
    ],
)
def test_audio_without_a_voice_is_an_error(samples, message):
    with pytest.raises(TidyVoiceError, match=message) as error:
        Recording.load(samples, RATE)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (speech(0.7), "holds only"),
        ((speech() * 30).clip(-1, 1), "is clipped"),
        ((speech() * 30).clip(-0.7, 0.7), "is clipped"),  # turned down afterwards
        (0.1 * seeded(1).standard_normal(3 * RATE), "a constant level"),
    ],
)
def test_poor_quality_is_a_warning(samples, message):
    (warning,) = Recording.load(samples, RATE, name="it").warnings
    assert re.match(f"it .*{message}", warning)


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "ogg"])
def test_clipping_is_noticed_in_any_format(kind, tmp_path):
    path = tmp_path / f"a.{kind}"
    soundfile.write(path, (speech(rate=44100) * 30).clip(-1, 1), 44100)
    (warning,) = Recording.load(path).warnings
    assert "is clipped" in warning
    soundfile.write(path, speech(rate=44100), 44100)
    recording = Recording.load(path)
    assert recording.warnings == ()
    assert recording.seconds == pytest.approx(3.0, abs=0.1)


def test_samples_need_a_rate_and_files_have_one(tmp_path):
    with pytest.raises(TidyVoiceError, match="give sample_rate"):
        Recording.load(speech())
    soundfile.write(tmp_path / "a.wav", speech(), RATE)
    with pytest.raises(TidyVoiceError, match="omit sample_rate"):
        Recording.load(tmp_path / "a.wav", sample_rate=RATE)
    assert Recording.load(speech(rate=44100), 44100.0).seconds == pytest.approx(3.0)
    for rate in (44100.5, np.nan, np.inf):
        with pytest.raises(TidyVoiceError, match="in whole Hz"):
            Recording.load(speech(), rate)


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


def test_a_damaged_wav_is_named(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, speech(), RATE, subtype="PCM_16")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(TidyVoiceError, match="cut short"):
        Recording.load(path)
    soundfile.write(path, np.zeros(0), RATE)
    with pytest.raises(TidyVoiceError, match=r"lasts 0\.00 s"):
        Recording.load(path)
    for bad in (np.nan, np.inf):
        soundfile.write(path, np.append(speech(), bad), RATE, subtype="FLOAT")
        with pytest.raises(TidyVoiceError, match=r"a\.wav: some samples are NaN or infinite"):
            Recording.load(path)


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
    found = Recording.load(path, channel=1).samples[: len(second)]
    assert np.corrcoef(found, second)[0, 1] > 0.9
    with pytest.raises(TidyVoiceError, match="no channel 2"):
        Recording.load(path, channel=2)


@pytest.mark.parametrize(
    "extension",
    ["aac", "aiff", "au", "caf", "flac", "m4a", "mkv", "mp3", "mp4", "ogg", "ts", "wav", "wma"],
)
def test_formats_that_ffmpeg_may_read(tmp_path, extension):
    soundfile.write(tmp_path / "a.flac", speech(), RATE)
    ffmpeg("-i", tmp_path / "a.flac", tmp_path / f"b.{extension}")
    samples = decoded_channels(tmp_path / f"b.{extension}")
    assert samples.shape == (pytest.approx(3 * RATE, rel=0.1), 1)
