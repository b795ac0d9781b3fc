import numpy as np
import pytest
import soundfile
import torch
from conftest import fill_weights, prepared

from tidyvoice.audio import read_pcm16
from tidyvoice.data.manifest import Manifest, scan
from tidyvoice.device import choose_device
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.extraction.extract import extract
from tidyvoice.frontend import FrontendSettings
from tidyvoice.models import build_model
from tidyvoice.scoring.embeddings import load_embeddings


@pytest.fixture(scope="module")
def encoder():
    model = fill_weights(build_model("SimAM_ResNet34_ASP", in_planes=4, embed_dim=24), 1)
    return SpeakerEncoder(model, FrontendSettings(), device="cpu")


@pytest.fixture
def data(tmp_path):
    return prepared(tmp_path, speakers=4, utterances=3, seconds=0.4)


def test_embeddings_do_not_depend_on_the_memory(encoder, data, tmp_path):
    tables = []
    for mib in (1, 4, None):
        extract(encoder, data, tmp_path / "e.npz", memory_mib=mib)
        tables.append(load_embeddings(tmp_path / "e.npz"))
    assert tables[0].ids == Manifest.read(data).table["utterance"].to_list()
    for other in tables[1:]:
        # 36 layers round twice each, in an order that the batch chooses: 72 eps = 9e-6 at most.
        difference = np.linalg.norm(tables[0].vectors - other.vectors, axis=1)
        assert (difference < 1e-5 * np.linalg.norm(other.vectors, axis=1)).all()


def test_embeddings_equal_the_plain_loop(encoder, data, tmp_path):
    extract(encoder, data, tmp_path / "e.npz")
    table = load_embeddings(tmp_path / "e.npz")
    for index, row in enumerate(Manifest.read(data).table.iter_rows(named=True)):
        waveform = torch.from_numpy(read_pcm16(row["path"]).copy()).float()[None] / 32768
        with torch.no_grad():
            plain = encoder.model(encoder.frontend(waveform))[0].numpy()
        distance = np.linalg.norm(table.vectors[index] - plain)
        assert distance < 1e-4 * np.linalg.norm(plain)


def test_a_limit_takes_a_seeded_part(encoder, data, tmp_path):
    assert extract(encoder, data, tmp_path / "a.npz", limit=5, seed=1).utterances == 5
    extract(encoder, data, tmp_path / "b.npz", limit=5, seed=1)
    extract(encoder, data, tmp_path / "c.npz", limit=5, seed=2)
    ids = [load_embeddings(tmp_path / f"{name}.npz").ids for name in "abc"]
    assert ids[0] == ids[1] != ids[2]


def test_a_strict_extraction_stops_at_an_unfit_file_and_writes_no_table(encoder, data, tmp_path):
    wav = tmp_path / "corpus" / "id000002" / "en" / "en_0.wav"
    soundfile.write(wav, np.zeros(399), 16000)
    with pytest.raises(TidyVoiceError, match=rf"{wav} has 399 samples, its utt2dur says 6400"):
        extract(encoder, data, tmp_path / "e.npz", strict=True)
    scan(tmp_path / "corpus", language_folder=True).write(data)
    with pytest.raises(TidyVoiceError, match=r"id000002/en/en_0\.wav has 399 samples"):
        extract(encoder, data, tmp_path / "e.npz", strict=True)
    assert not (tmp_path / "e.npz").exists()
    with pytest.raises(TidyVoiceError, match="is a folder: give the file"):
        extract(encoder, data, tmp_path)


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "cpu:1", "cuda:x"])
def test_a_device_that_is_not_there_is_named(name):
    with pytest.raises(TidyVoiceError, match=f"device {name} is not available"):
        choose_device(name)
