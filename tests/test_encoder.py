from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from conftest import seeded

from tidyvoice import Enrolment, Gallery, Recording, SpeakerEncoder, TidyVoiceError
from tidyvoice import encoder as module
from tidyvoice.audio import read_pcm16
from tidyvoice.errors import TidyVoiceWarning
from tidyvoice.model_files import VERIFIER_FILE
from tidyvoice.modelhub.folder import fingerprint, load_model


@pytest.fixture(scope="module")
def encoder(voices):
    return SpeakerEncoder.from_pretrained(voices / "model", device="cpu")


@pytest.fixture
def bare(voices, tmp_path):
    """An encoder without a verifier."""
    model, settings = load_model(voices / "model")
    return SpeakerEncoder(model, settings, "cpu")


def close(one, other, tolerance=1e-5):
    # 36 layers round twice each, in an order that batch and CPU choose: 72 eps = 9e-6 at most.
    return np.linalg.norm(one - other) <= tolerance * np.linalg.norm(other)


def test_a_recording_is_embedded_as_extraction_does_it(encoder, voices):
    samples = read_pcm16(voices / "ann-1.wav")
    assert close(encoder.embed(voices / "ann-1.wav"), encoder.embed_samples(samples[None])[0])


def test_other_rates_and_files_give_nearly_the_same_embedding(encoder, voices, tmp_path):
    samples, rate = soundfile.read(voices / "ann-1.wav")
    soundfile.write(tmp_path / "a.flac", samples, rate, subtype="PCM_16")
    wanted = encoder.embed(voices / "ann-1.wav")
    assert close(encoder.embed(tmp_path / "a.flac"), wanted)
    assert close(encoder.embed(np.stack([samples, 0 * samples]), rate), wanted)
    assert close(encoder.embed(torch.from_numpy(samples), rate), wanted)


def test_many_are_those_of_each_in_order(encoder, voices, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 4)  # several rounds
    paths = sorted(voices.glob("*.wav")) * 2
    together = encoder.embed_many(paths)
    for path, row in zip(paths, together, strict=True):
        assert close(row, encoder.embed(path))
    with pytest.raises(TidyVoiceError, match="no recording"):
        encoder.embed_many([])


def test_a_long_recording_is_the_mean_of_its_equal_pieces(encoder, monkeypatch):
    frontend = encoder.frontend
    samples = (0.1 * seeded(1).standard_normal(frontend.num_samples(100))).astype(np.float32)
    samples[20 * 160 : 40 * 160] *= 0.01  # a pause
    wanted = np.zeros(16)
    for first, last in ((0, 33), (33, 66), (66, 100)):
        piece = samples[160 * first :][: frontend.num_samples(last - first)]
        wanted += (last - first) / 100 * encoder.embed_waveforms(piece[None])[0]
    monkeypatch.setattr(module, "LONGEST", frontend.num_samples(40) / 16000)
    with pytest.warns(TidyVoiceWarning, match="only 0.8 s of sound"):
        assert close(encoder.embed(samples, 16000), wanted)


def test_an_embedding_that_is_not_finite_is_named(bare, voices):
    bare.inference.bottleneck.bias[3] = float("nan")
    with pytest.raises(
        TidyVoiceError, match=r"ann-1\.wav: the embedding of \d+ frames is not finite in float32"
    ):
        bare.embed(voices / "ann-1.wav")


def test_bfloat16_refuses_what_is_too_short_for_it(voices):
    encoder = SpeakerEncoder.from_pretrained(voices / "model", "cpu", precision="bfloat16")
    samples = 0.1 * seeded(1).standard_normal((2, 1680)).astype(np.float32)
    assert np.isfinite(encoder.embed_waveforms(samples)).all()
    with pytest.raises(TidyVoiceError, match="8 frames are fewer than the 9 that bfloat16 needs"):
        encoder.embed_waveforms(samples[:, :1679])


def test_a_poor_recording_warns_where_it_is_embedded(encoder):
    noise = 0.1 * seeded(1).standard_normal(48000)
    with pytest.warns(TidyVoiceWarning, match="one level throughout") as caught:
        encoder.embed(noise, 16000)
    assert caught[0].filename == __file__
    found = encoder.verify(noise, noise, sample_rate=16000)
    assert len(found.warnings) == 2


def test_an_unfit_recording_among_many_is_named(encoder, voices, tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros(32000), 16000)
    with pytest.raises(TidyVoiceError, match=r"silent\.wav is silent"):
        encoder.embed_many([voices / "ann-1.wav", tmp_path / "silent.wav"])


def test_scores_are_cosines_of_centred_embeddings(encoder, voices):
    paths = voices / "ann-1.wav", voices / "bob-1.wav"
    one, other = (encoder.embed(path) - encoder.verifier.mean for path in paths)
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    found = encoder.verify(*paths)
    assert found.score == pytest.approx(cosine, abs=1e-6)
    assert found.llr == pytest.approx(encoder.verifier.llr(cosine), abs=1e-4)
    assert encoder.verify(paths[0], paths[0]).score == pytest.approx(1, abs=1e-6)


def test_an_enrolment_may_stand_on_either_side(encoder, voices):
    ann = encoder.enrol("Ann", [voices / "ann-1.wav"])
    wanted = encoder.verify(voices / "ann-1.wav", voices / "ann-2.wav")
    assert encoder.verify(ann, voices / "ann-2.wav").score == pytest.approx(wanted.score, abs=1e-6)
    assert encoder.verify(voices / "ann-2.wav", ann).score == pytest.approx(wanted.score, abs=1e-6)


def test_an_enrolment_is_the_mean_of_raw_embeddings(encoder, voices):
    paths = sorted(voices.glob("ann-*.wav"))
    ann = encoder.enrol("Ann", paths)
    assert close(ann.vector, encoder.embed_many(paths).mean(axis=0))
    assert ann.recordings == 3
    assert ann.seconds == pytest.approx(sum(Recording.load(path).seconds for path in paths))


def test_a_recording_of_somebody_else_among_those_of_a_speaker_is_said(encoder, voices):
    paths = [voices / "ann-1.wav", voices / "ann-2.wav", voices / "bob-1.wav"]
    with pytest.warns(TidyVoiceWarning, match=r"bob-1\.wav sounds like another speaker") as caught:
        encoder.enrol("Ann", paths)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with pytest.raises(TidyVoiceError, match="without a name"):
        encoder.enrol(" ", paths)


def test_a_stranger_is_nobody(encoder, voices):
    gallery = Gallery([encoder.enrol("Ann", [voices / "ann-1.wav"])])
    found = encoder.identify(voices / "bob-1.wav", gallery)
    assert found.name is None
    assert found.candidates[0].name == "Ann"
    assert found.candidates[0].score < found.threshold


def test_without_a_verifier_there_is_a_score_and_no_decision(bare, voices):
    found = bare.verify(voices / "ann-1.wav", voices / "ann-2.wav")
    assert -1 <= found.score <= 1
    assert found.llr is found.probability is found.same_speaker is found.threshold is None
    ann = bare.enrol("Ann", [voices / "ann-1.wav"])
    with pytest.raises(TidyVoiceError, match="carries no verifier"):
        bare.identify(voices / "ann-2.wav", Gallery([ann]))


def test_what_was_enrolled_with_another_model_is_refused(encoder, voices):
    other = Enrolment("Ann", np.ones(16, np.float32), 1, 1.0, "another")
    with pytest.raises(TidyVoiceError, match="'Ann' was enrolled with another model"):
        encoder.verify(other, voices / "ann-2.wav")
    with pytest.raises(TidyVoiceError, match="the gallery was enrolled with another model"):
        encoder.identify(voices / "ann-2.wav", Gallery([other]))
    with pytest.raises(TidyVoiceError, match="nobody is enrolled"):
        encoder.identify(voices / "ann-2.wav", Gallery())


def test_a_verifier_of_another_model_is_refused(encoder, voices, tmp_path):
    model, settings = load_model(voices / "model")
    with torch.no_grad():
        model.bottleneck.bias += 1
    with pytest.raises(TidyVoiceError, match="the verifier is of another model"):
        SpeakerEncoder(model, settings, "cpu", verifier=encoder.verifier)
    for name in ("config.yaml", VERIFIER_FILE):
        (tmp_path / name).write_bytes((voices / "model" / name).read_bytes())
    torch.save(model.state_dict(), tmp_path / "avg_model.pt")
    with pytest.raises(TidyVoiceError, match="the verifier is of another model") as error:
        SpeakerEncoder.from_pretrained(tmp_path)
    assert str(error.value).startswith(str(tmp_path))


def test_a_fingerprint_is_of_the_weights_not_of_the_file(voices):
    one, other = (load_model(voices / "model")[0] for _ in range(2))
    assert fingerprint(one) == fingerprint(other)
    with torch.no_grad():
        other.bottleneck.bias[0] += 1e-3
    assert fingerprint(one) != fingerprint(other)


def test_a_source_that_is_neither_folder_nor_repository_is_named(tmp_path):
    with pytest.raises(TidyVoiceError, match="no folder"):
        SpeakerEncoder.from_pretrained(tmp_path / "nowhere")


def test_a_verifier_of_another_dimension_is_refused(encoder):
    model, settings = encoder.model, encoder.settings
    short = replace(encoder.verifier, mean=encoder.verifier.mean[:-1])
    with pytest.raises(TidyVoiceError, match="mean has 15 dimensions, embeddings have 16"):
        SpeakerEncoder(model, settings, "cpu", verifier=short)


def test_a_wrong_precision_is_not_the_folders_fault(voices):
    with pytest.raises(TidyVoiceError, match=r"^no precision half"):
        SpeakerEncoder.from_pretrained(voices / "model", "cpu", precision="half")


def test_names_are_stripped(encoder, voices):
    assert encoder.enrol("  Ann ", [voices / "ann-1.wav"]).name == "Ann"


def test_verify_takes_the_channel_of_both(encoder, voices):
    ann, bob = (soundfile.read(voices / f"{name}-1.wav")[0] for name in ("ann", "bob"))
    both = np.stack([ann, bob], axis=1)
    found = encoder.verify(both, both[::-1], sample_rate=16000, channel=2).score
    assert found == pytest.approx(encoder.verify(bob, bob[::-1], sample_rate=16000).score)
    assert found != pytest.approx(encoder.verify(ann, ann[::-1], sample_rate=16000).score)


def test_a_threshold_that_nobody_reaches_is_said(encoder, voices):
    gallery = Gallery([encoder.enrol("Ann", [voices / "ann-1.wav"])])
    assert encoder.identify(voices / "ann-2.wav", gallery, false_alarm=0.2).warnings == ()
    found = encoder.identify(voices / "ann-2.wav", gallery, false_alarm=1e-300)
    assert (found.name, found.threshold) == (None, 1.0)
    assert found.warnings[0].startswith("the threshold is 1, so that nobody can be found: 1,500 ")


def test_long_recordings_are_not_held_together(encoder, monkeypatch):
    loaded, embedded = [], []

    def load(source, *_):
        loaded.append(source)
        return Recording(str(source), np.ones(16000, np.float32), 1.0)

    def embed(recordings):
        assert len(loaded) - len(embedded) <= 2 * 3 + 2 * module.READING_THREADS
        embedded.extend(recordings)
        return [np.zeros(16)] * len(recordings)

    monkeypatch.setattr(module.Recording, "load", load)
    monkeypatch.setattr(encoder, "_embed", embed)
    monkeypatch.setattr(module, "AT_ONCE_SECONDS", 3.0)
    assert encoder.embed_many(range(50)).shape == (50, 16)
    assert [one.name for one in embedded] == [str(number) for number in range(50)]
