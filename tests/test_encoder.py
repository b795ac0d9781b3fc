import numpy as np
import pytest
import soundfile
import torch
from conftest import refused, seeded

from tidyvoice import Enrollment, Gallery, Recording, SpeakerEncoder, TidyVoiceError
from tidyvoice.audio import read_pcm16
from tidyvoice.encoder import embedder
from tidyvoice.errors import TidyVoiceWarning
from tidyvoice.frontend import FrontendSettings
from tidyvoice.modelhub.folder import load_model


@pytest.fixture(scope="module")
def encoder(voices):
    return SpeakerEncoder.from_pretrained(voices / "model", device="cpu")


@pytest.fixture
def bare(voices):
    """An encoder without a verifier."""
    model, settings = load_model(voices / "model")
    return SpeakerEncoder(model, settings, "cpu")


def close(one, other, tolerance=1e-5):
    # 36 layers round twice each, in an order that batch and CPU choose: 72 eps = 9e-6 at most.
    return np.linalg.norm(one - other) <= tolerance * np.linalg.norm(other)


def test_other_files_and_samples_give_the_embedding_of_extraction(encoder, voices, tmp_path):
    samples, rate = soundfile.read(voices / "ann-1.wav")
    soundfile.write(tmp_path / "a.flac", samples, rate, subtype="PCM_16")
    expected = encoder.embed_samples(read_pcm16(voices / "ann-1.wav")[None])[0]
    assert close(encoder.embed(voices / "ann-1.wav"), expected)
    assert close(encoder.embed(tmp_path / "a.flac"), expected)
    assert close(encoder.embed(torch.from_numpy(np.stack([samples, 0 * samples])), rate), expected)


@pytest.mark.filterwarnings("error")
def test_reversed_and_read_only_samples_are_embedded(encoder, voices):
    samples = read_pcm16(voices / "ann-1.wav")[None]
    reversed_copy = samples[:, ::-1].copy()
    expected = encoder.embed_samples(reversed_copy)
    reversed_copy.flags.writeable = False
    for same in (samples[:, ::-1], reversed_copy):
        np.testing.assert_array_equal(encoder.embed_samples(same), expected)


def test_many_are_embedded_in_order(encoder, voices, monkeypatch, tmp_path):
    monkeypatch.setattr(embedder, "AT_ONCE", 4)  # several rounds
    paths = sorted(voices.glob("*.wav")) * 2
    for path, row in zip(paths, encoder.embed_many(paths), strict=True):
        assert close(row, encoder.embed(path))
    soundfile.write(tmp_path / "silent.wav", np.zeros(32000), 16000)
    with pytest.raises(TidyVoiceError, match=r"silent\.wav is silent"):
        encoder.embed_many([voices / "ann-1.wav", tmp_path / "silent.wav"])


def test_a_long_recording_is_the_mean_of_its_equal_pieces(encoder, monkeypatch):
    settings = encoder.frontend
    samples = (0.1 * seeded(1).standard_normal(settings.num_samples(100))).astype(np.float32)
    samples[20 * 160 : 40 * 160] *= 0.01  # a pause
    expected = np.zeros(16)
    for first, last in ((0, 33), (33, 66), (66, 100)):
        piece = samples[160 * first :][: settings.num_samples(last - first)]
        expected += (last - first) / 100 * encoder.embed_waveforms(piece[None])[0]
    monkeypatch.setattr(embedder, "LONGEST", settings.num_samples(40) / 16000)
    with pytest.warns(TidyVoiceWarning, match="only 0.8 s of sound"):
        assert close(encoder.embed(samples, 16000), expected)


def test_windows_are_segments(encoder, voices):
    path = voices / "ann-1.wav"
    starts, rows = encoder.embed_windows(path, window=0.8, step=0.6)
    assert starts.tolist() == pytest.approx([0.6 * n for n in range(len(starts))])
    assert 0 <= Recording.load(path).seconds - (starts[-1] + 0.8) < 0.6
    for start, row in zip(starts, rows, strict=True):
        assert close(encoder.embed(path, start=start, end=start + 0.8), row)
    (_, (whole,)) = encoder.embed_windows(path, window=100, step=1)
    assert close(whole, encoder.embed(path))
    for window, step in ((0.1, 1), (1, 0)):
        with pytest.raises(TidyVoiceError, match=f"window {window:g} s, step {step:g} s"):
            encoder.embed_windows(path, window, step)


def test_a_poor_recording_warns_at_the_call(encoder):
    noise = 0.1 * seeded(1).standard_normal(48000)
    calls = (
        lambda: encoder.embed(noise, 16000),
        lambda: encoder.embed_many([noise], 16000),
        lambda: encoder.embed_windows(noise, 1.0, 1.0, 16000),
        lambda: encoder.enroll("noise", [noise], 16000),
    )
    for call in calls:
        with pytest.warns(TidyVoiceWarning, match="a constant level") as caught:
            call()
        assert [warning.filename for warning in caught] == [__file__]
    assert len(encoder.verify(noise, noise, sample_rate=16000).warnings) == 2


def test_scores_are_cosines_of_centred_embeddings(encoder, bare, voices):
    paths = voices / "ann-1.wav", voices / "bob-1.wav"
    for one, mean in ((encoder, encoder.verifier.backend.mean), (bare, 0)):
        left, right = (one.embed(path) - mean for path in paths)
        cosine = left @ right / np.linalg.norm(left) / np.linalg.norm(right)
        assert one.verify(*paths).score == pytest.approx(cosine, abs=1e-6)
        assert one.similarity(*paths) == pytest.approx(cosine, abs=1e-6)


def test_recordings_embeddings_and_enrolments_are_compared_alike(encoder, voices):
    paths = [voices / f"{name}.wav" for name in ("ann-1", "ann-2", "bob-1")]
    rows = encoder.embed_many(paths)
    ann = encoder.enroll("Ann", paths[:1])
    expected = [encoder.verify(paths[0], path).score for path in paths]
    for one, other in (
        (paths[0], paths),
        (ann, rows),
        (paths, ann),
        ([ann, rows[0], paths[0]], [rows[0], paths[1], Recording.load(paths[2])]),
    ):
        results = encoder.verify(one, other)
        assert [result.score for result in results] == pytest.approx(expected, abs=1e-5)
        assert encoder.similarity(one, other) == pytest.approx(expected, abs=1e-5)
    assert [result.same_speaker for result in results] == [True, True, False]
    assert "2 voices against 3" in refused(encoder.verify, paths[:2], paths)
    with pytest.raises(TidyVoiceError, match="not an embedding of 16 dimensions; give sample_rate"):
        encoder.verify(np.zeros(16000), rows[0])


def test_an_enrolment_is_the_mean_of_raw_embeddings(encoder, voices):
    paths = sorted(voices.glob("ann-*.wav"))
    ann = encoder.enrol("  Ann ", paths)  # the older name of enroll
    assert (ann.name, ann.recordings) == ("Ann", 3)
    assert close(ann.vector, encoder.embed_many(paths).mean(axis=0))
    assert ann.seconds == pytest.approx(sum(Recording.load(path).seconds for path in paths))


def test_an_enrolment_uses_the_calibration_of_its_number_of_recordings(voices):
    encoder = SpeakerEncoder.from_pretrained(voices / "model", "cpu")
    one = encoder.verifier.scales[0]
    two = one.model_copy(update={"recordings": 2, "slope": 2 * one.slope})
    encoder.verifier = encoder.verifier.model_copy(update={"scales": (one, two)})
    paths = sorted(voices.glob("ann-*.wav"))
    for count, scale in ((1, one), (2, two), (3, two)):
        ann = encoder.enroll("Ann", paths[:count])
        (candidate,) = encoder.identify(voices / "bob-1.wav", Gallery([ann])).candidates
        for result in (encoder.verify(voices / "bob-1.wav", ann), candidate):
            assert result.llr == pytest.approx(scale.slope * result.score + scale.offset, abs=1e-4)


def test_a_recording_of_another_speaker_among_those_of_a_speaker_is_reported(encoder, voices):
    paths = [voices / "ann-1.wav", voices / "ann-2.wav", voices / "bob-1.wav"]
    with pytest.warns(TidyVoiceWarning, match=r"bob-1\.wav sounds like another speaker"):
        encoder.enroll("Ann", paths)
    assert "name of a speaker is empty" in refused(encoder.enroll, " ", paths)


def test_speakers_are_identified_and_strangers_are_not(encoder, voices):
    gallery = Gallery([encoder.enroll("Ann", [voices / "ann-1.wav"])])
    paths = [voices / "ann-2.wav", voices / "bob-1.wav"]
    found, stranger = encoder.identify(paths, gallery, false_alarm=0.05)
    assert (found.name, stranger.name) == ("Ann", None)
    assert stranger.candidates[0].score < stranger.threshold
    assert encoder.identify(paths[0], gallery, false_alarm=0.05).name == "Ann"
    assert found.warnings == ()
    result = encoder.identify(paths[0], gallery, false_alarm=1e-30)
    assert result.name is None
    assert "1,500 non-target trials are too few" in result.warnings[0]


def test_enrolments_and_verifiers_of_another_model_are_refused(encoder, bare, voices):
    other = Enrollment("Ann", np.ones(16, np.float32), 1, 1.0, "another")
    for call in (encoder.verify, lambda one, two: encoder.identify(two, Gallery([one]))):
        assert "'Ann' was enrolled with another model" in refused(call, other, voices / "ann-2.wav")
    assert "nobody is enrolled" in refused(encoder.identify, voices / "ann-2.wav", Gallery())
    other_features = FrontendSettings(args={"frame_shift": 5.0})
    with pytest.raises(TidyVoiceError, match=r"verifier\.json belongs to another model"):
        SpeakerEncoder(bare.model, other_features, "cpu", verifier=encoder.verifier)
    with torch.no_grad():
        bare.model.bottleneck.bias[0] += 1e-3
    with pytest.raises(TidyVoiceError, match=r"verifier\.json belongs to another model"):
        SpeakerEncoder(bare.model, bare.settings, "cpu", verifier=encoder.verifier)
