import io
import re
import shutil
import subprocess

import numpy as np
import pytest
import soundfile
from conftest import refused, require, seeded

from tidyvoice import audio
from tidyvoice.audio import inspect_audio, read_pcm16
from tidyvoice.errors import TidyVoiceError
from tidyvoice.recordings import Recording

RATE = 16000


def speech(seconds=3.0, rate=RATE, level=0.1):
    """Noise in syllables, four a second."""
    time = np.arange(int(seconds * rate)) / rate
    envelope = 0.5 - 0.5 * np.cos(2 * np.pi * 4 * time)
    return level * envelope * seeded(1).standard_normal(len(time))


def tone(hertz, rate, seconds=2.0):
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


def encoded(samples, kind, subtype):
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format=kind, subtype=subtype)
    return file.getvalue()


def ffmpeg(*arguments):
    require(shutil.which("ffmpeg") is not None, "ffmpeg is not installed")
    subprocess.run(["ffmpeg", "-v", "error", *map(str, arguments)], check=True)


def test_a_segment_is_a_part_of_the_recording(tmp_path):
    samples = np.stack([speech(), 0.5 * speech()], axis=1)
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="PCM_16")
    expected = read_pcm16(tmp_path / "a.wav") / 32768
    for start, end in ((0, None), (1.25, None), (0.5, 2.5)):
        part = expected[round(start * RATE) : round((end or 3) * RATE)]
        for source, rate in ((tmp_path / "a.wav", None), (expected, RATE)):
            found = Recording.load(source, rate, start=start, end=end)
            np.testing.assert_array_equal(found.samples, part.astype(np.float32))
            assert found.warnings == ()
    second = Recording.load(tmp_path / "a.wav", channel=1, start=1, end=2).samples
    np.testing.assert_allclose(second, expected[RATE : 2 * RATE] / 2, atol=1e-4)
    for start, end in ((-1, None), (2, 1), (1, 3.5), (np.nan, None), (1, np.inf)):
        for source, rate in ((tmp_path / "a.wav", None), (expected, RATE)):
            with pytest.raises(TidyVoiceError, match=f"no segment from {start} s .* lasts 3.00 s"):
                Recording.load(source, rate, start=start, end=end)


@pytest.mark.parametrize("rate", [8000, 11025, 48000])
def test_any_rate_becomes_16_khz(rate):
    found = Recording.load(tone(1000, rate), sample_rate=rate).samples
    wanted = tone(1000, RATE)
    assert abs(len(found) - len(wanted)) <= 1
    middle = slice(2000, -2000)
    np.testing.assert_allclose(found[middle], wanted[: len(found)][middle], atol=2e-3)


@pytest.mark.parametrize(
    ("kind", "scale", "middle", "tolerance"),
    [
        ("i2", 32767, 0, 1e-3),
        ("i4", 2**31 - 1, 0, 1e-3),
        ("f2", 1, 0, 1e-3),
        ("u1", 127, 128, 0.02),
    ],
)
def test_samples_of_any_type(kind, scale, middle, tolerance):
    samples = np.round(speech() * scale + middle) if kind != "f2" else speech()
    found = Recording.load(samples.astype(kind), RATE).samples
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, speech(), atol=tolerance)


def test_channels_lie_on_the_shorter_side():
    both = np.stack([speech(), 0.5 * speech()])
    for samples in (both, both.T):
        second = Recording.load(samples, RATE, channel=1).samples
        np.testing.assert_allclose(second, 0.5 * speech(), atol=1e-6)
    with pytest.raises(TidyVoiceError, match=r"no channel 2; give a channel from 0 to 1"):
        Recording.load(both, RATE, channel=2)
    with pytest.raises(TidyVoiceError, match="is silent in channel 0: use channel 1"):
        Recording.load(np.stack([np.zeros(3 * RATE), speech()]), RATE)


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (np.full(3 * RATE, 0.3), RATE, "is silent"),  # an offset is no sound
        (speech(0.2), RATE, "lasts 0.20 s"),
        (np.append(np.zeros(8 * RATE), speech(0.2)), RATE, r"holds 0\.\d\d s of sound in 8.2 s"),
        ((speech() * 32767).astype(np.int64), RATE, "are no samples"),
        (np.full(3 * RATE, np.nan), RATE, "NaN"),
        (speech() * 32768, RATE, "divide 16-bit samples by 32768"),
        (speech(), None, "give sample_rate"),
        (speech(), 44101, "has a rate of 44,101 Hz"),
    ],
)
def test_audio_without_a_voice_is_an_error(samples, rate, message):
    with pytest.raises(TidyVoiceError, match=message):
        Recording.load(samples, rate)


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
    (warning,) = Recording.load(samples, RATE).warnings
    assert re.match(f"the recording .*{message}", warning)


def test_an_unfit_file_is_named(tmp_path):
    path = tmp_path / "a.wav"
    assert f"{path}: no such file" in refused(Recording.load, path)
    soundfile.write(path, speech(), RATE, subtype="PCM_16")
    message = refused(Recording.load, path, sample_rate=RATE)
    assert str(path) in message
    assert "omit sample_rate" in message


def test_false_headers_and_impossible_samples_are_errors_everywhere(tmp_path):
    wav, flac = encoded(speech(), "WAV", "PCM_16"), encoded(speech(), "FLAC", "PCM_16")
    path, samples = tmp_path / "a.wav", np.append(speech(), np.nan)
    for content, message in (
        (wav[:-2], "is cut short by 2 of"),
        (wav[:40] + (95999).to_bytes(4, "little") + wav[44:], "has 95,999 bytes"),
        (wav[:22] + b"\xff\xff" + wav[24:], "contradicts itself: 65535 x 16 bits"),
        (flac[:-500], "is not a readable audio file"),
        (encoded(speech(), "OGG", "VORBIS")[:-500], "is cut short: it has no last page"),
        (flac[:22] + b"\xff" * 4 + flac[26:], "states 4,294,967,295 samples"),
        (encoded(samples, "WAV", "FLOAT"), "some samples are NaN or infinite"),
        (encoded(speech() * 32768, "WAV", "FLOAT"), "divide 16-bit samples by 32768"),
    ):
        path.write_bytes(content)
        for read in (read_pcm16, Recording.load):
            with pytest.raises(TidyVoiceError, match=f"{re.escape(str(path))}.* {message}"):
                read(path)
        # The end of a FLAC is found when it is decoded.
        assert (message in inspect_audio(path)[1]) == ("readable" not in message)
        assert message in inspect_audio(path, decode=True)[1]


def test_a_playlist_does_not_have_other_files_read(tmp_path):
    soundfile.write(tmp_path / "a.wav", speech(), RATE)
    ffmpeg("-i", tmp_path / "a.wav", tmp_path / "private.ts")
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{tmp_path / 'private.ts'}\n"
    (tmp_path / "up.wav").write_text(playlist)
    with pytest.raises(TidyVoiceError, match=r"up\.wav cannot be decoded \(not a supported"):
        Recording.load(tmp_path / "up.wav")


def test_an_mp3_that_does_not_state_its_length_is_read_to_the_end(tmp_path):
    # Its first frames have a higher bit rate than the others, from which a length would be wrong.
    samples = np.concatenate([np.tile(speech(), 3), np.zeros(20 * RATE)])
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    ffmpeg("-i", tmp_path / "a.wav", "-q:a", 9, "-write_xing", 0, tmp_path / "a.mp3")
    assert len(read_pcm16(tmp_path / "a.mp3")) == pytest.approx(len(samples), abs=3000)


@pytest.mark.parametrize("extension", ["m4a", "mkv", "ts", "wma"])
def test_files_that_ffmpeg_reads(tmp_path, monkeypatch, extension):
    second = tone(1000, RATE, 3.0) * (np.arange(3 * RATE) % 8000 > 4000)
    soundfile.write(tmp_path / "a.wav", np.stack([speech(), second], 1), RATE)
    path = tmp_path / f"a:b.{extension}"
    ffmpeg("-i", tmp_path / "a.wav", path)
    first, found = (Recording.load(path, channel=channel).samples for channel in (0, 1))
    np.testing.assert_array_equal(first, read_pcm16(path) / np.float32(32768))
    assert Recording.load(path, start=1, end=2).seconds == pytest.approx(1.0, abs=0.01)
    # An encoder may shift the samples and cut the end.
    assert np.abs(np.fft.rfft(found, 4 * RATE)).argmax() == 4000
    if extension == "mkv":
        cut = path.with_name("cut.mkv")
        cut.write_bytes(path.read_bytes()[:-2000])
        assert "cut.mkv cannot be decoded" in refused(Recording.load, cut)
    monkeypatch.setattr(audio, "LARGEST", 99_999)
    assert "decodes to 99,999 bytes or more" in refused(Recording.load, path)
