"""Fetching released models: from a Hub on this machine, from archives and from folders."""

import hashlib
import json
import re
from pathlib import Path

import pytest
import soundfile
import torch
import yaml
from conftest import fill_weights, refusal, refused, seeded, succeed

from tests.fake_hub import REPOSITORY, fake_hub, published_config, write_release
from tests.local.corpora import tar, zipped
from tests.preloaded import failing
from tests.publish.support import run
from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import atomic_folder
from tidyvoice.modelhub.folder import load_model, training_speakers
from tidyvoice.models import build_model
from tidyvoice.released import Release, fetch_model
from tidyvoice.settings import load_settings

WEIGHTS = "models/avg_model.pt"  # in a folder as it is released


def new_model(seed=1):
    return fill_weights(build_model("SimAM_ResNet34_ASP", in_planes=2, embed_dim=8), seed)


@pytest.fixture
def released(tmp_path):
    """A folder as WeSpeaker releases one."""
    folder = write_release(tmp_path / "released", new_model(), in_planes=2, embed_dim=8)
    (folder / "README.md").write_text("not wanted")
    return folder


@pytest.fixture
def hub(released):
    with fake_hub() as server:
        server.serve_folder(released)
        yield server


def fetch(hub, tmp_path, *arguments, **changes):
    hub.asked.clear()
    return run(hub, tmp_path, "tidyvoice", "fetch-model", *arguments, **changes)


def assert_released(folder):
    loaded, _ = load_model(folder)
    for name, tensor in new_model().state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])


def test_a_repository_is_downloaded_once_and_then_read_from_the_cache(hub, tmp_path):
    result = fetch(hub, tmp_path, REPOSITORY, "--out", "first")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert f"--revision {hub.commit}" in result.stdout
    assert not any("README" in path for path in hub.asked)
    assert_released(tmp_path / "first")
    files = {"avg_model.pt", "config.yaml", "source.json", "speakers.txt"}
    assert {path.name for path in (tmp_path / "first").iterdir()} == files
    source = json.loads((tmp_path / "first" / "source.json").read_text())
    assert (source["source"], source["revision"]) == (REPOSITORY, "main")
    assert source["commit"] == hub.commit
    assert source["files"]["avg_model.pt"] == hashlib.sha256(hub.files[WEIGHTS]).hexdigest()
    assert training_speakers(tmp_path / "first") == ["*"]

    again = fetch(hub, tmp_path, REPOSITORY, "--out", "first", "--json")
    assert json.loads(again.stdout)["commit"] == hub.commit
    assert not any(path.startswith("GET") and WEIGHTS in path for path in hub.asked)

    hub.asked.clear()
    soundfile.write(tmp_path / "noise.wav", seeded(1).standard_normal(16000) / 10, 16000)
    embed = ["tidyvoice", "embed", "noise.wav", "--json", "--model"]
    of_cache, of_folder = (
        run(hub, tmp_path, *embed, model, HF_HUB_OFFLINE="1") for model in (REPOSITORY, "first")
    )
    assert json.loads(of_cache.stdout) == json.loads(of_folder.stdout)
    assert hub.asked == []

    (kept,) = (tmp_path / "home").rglob(f"blobs/{source['files']['avg_model.pt']}")
    data = bytearray(kept.read_bytes())
    data[-1] ^= 1
    kept.write_bytes(data)
    line = failing(fetch(hub, tmp_path, REPOSITORY, "--out", "second"))
    assert f"{kept.name} is damaged: delete it" in line


@pytest.mark.parametrize(
    ("message", "refuse", "environment"),
    [
        ("not in the cache", {}, {"HF_HUB_OFFLINE": "1"}),
        ("RepoNotFound.*; check the name, and set HF_TOKEN", {"": (401, "RepoNotFound")}, {}),
        ("HTTP status 503 .*; try again later", {"": (503, "")}, {}),
        (f"{REPOSITORY} at main: .*; check the names", {"": (404, "RevisionNotFound")}, {}),
        ("access, and accept the conditions", {"/resolve/": (403, "GatedRepo")}, {}),
        ("check the network and run the command again", {}, {"HF_ENDPOINT": "http://[::1]:9"}),
    ],
)
def test_failed_downloads_are_one_line(hub, tmp_path, message, refuse, environment):
    hub.refuse = refuse
    result = fetch(hub, tmp_path, REPOSITORY, "--out", "out", **environment)
    assert re.search(message, failing(result))
    assert not (tmp_path / "out").exists()


def test_a_pinned_version_is_fetched_or_nothing(hub, released, tmp_path):
    text = (Path(__file__).parents[1] / "conf/tidyvoice/released.yaml").read_text()
    text = text.replace("areffarhadi/Resnet34-tidyvoiceX-ASV", REPOSITORY)
    pins = tmp_path / "released.yaml"
    pins.write_text(text)
    result = fetch(hub, tmp_path, pins, "--out", "first", "--pin")
    assert result.returncode == 0, result.stderr
    assert "may change" not in result.stdout
    pinned = load_settings(Release, pins)
    assert pinned.revision == hub.commit
    assert pinned.sha256 == hashlib.sha256(hub.files[WEIGHTS]).hexdigest()
    assert pins.read_text().partition("revision:")[0] == text.partition("revision:")[0]

    # After another commit to the branch, the pinned one still comes from the cache.
    old = hub.commit
    torch.save(new_model(seed=2).state_dict(), released / WEIGHTS)
    hub.serve_folder(released)
    assert old in fetch(hub, tmp_path, pins, "--out", "first").stdout
    line = failing(fetch(hub, tmp_path, pins, "--out", "other", "--revision", "main"))
    assert f"released.yaml says {pinned.sha256}" in line


@pytest.mark.parametrize(
    ("ending", "weights", "config"),
    [
        (".zip", "voxblink2_samresnet34/avg_model.pt", "voxblink2_samresnet34/config.yaml"),
        (".tar.gz", "./models/ft/avg_model.pt", "./models/ft/config.yaml"),
        (".tgz", "exp/models/avg_model.pt", "exp/config.yaml"),
        (".tar", "avg_model.pt", "config.yaml"),
    ],
)
def test_archives_in_every_layout(released, tmp_path, ending, weights, config):
    files = {weights: (released / WEIGHTS).read_bytes(), "__MACOSX/._config.yaml": b"junk"}
    files[config] = (released / "config.yaml").read_bytes()
    packed = zipped(files) if ending == ".zip" else tar(files, "w" if ending == ".tar" else "w:gz")
    archive = tmp_path / f"archive{ending}"
    archive.write_bytes(packed)
    assert fetch_model(str(archive), tmp_path / "out").commit is None
    assert_released(tmp_path / "out")


def test_a_model_that_does_not_work_is_refused(released, tmp_path):
    (released / "config.yaml").write_text(yaml.safe_dump(published_config(4, 8)))
    with pytest.raises(TidyVoiceError, match=f"^{released}: avg_model.pt does not fit"):
        fetch_model(str(released), tmp_path / "out")
    (released / "config.yaml").write_text(yaml.safe_dump(published_config(2, 8)))
    state = {**new_model().state_dict(), "front.bn1.running_var": torch.full((2,), -1.0)}
    torch.save(state, released / WEIGHTS)
    with pytest.raises(TidyVoiceError, match=f"^{released}: the embedding of .* not finite"):
        fetch_model(str(released), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_leak_guard_knows_named_and_given_speakers(released, tmp_path):
    (tmp_path / "utt2spk").write_text("a/en/1.wav a\nb/en/1.wav b\n")
    command = ("fetch-model", released, "--trained-on", tmp_path / "utt2spk", "--out")
    text = succeed(*command, tmp_path / "one")
    assert "2 speakers whose names are known and on others" in text
    assert training_speakers(tmp_path / "one") == ["*", "a", "b"]
    (released / "speakers.txt").write_text("c\n")
    succeed(*command, tmp_path / "two")
    assert training_speakers(tmp_path / "two") == ["a", "b", "c"]


def test_another_model_is_not_replaced(released, tmp_path):
    out = tmp_path / "out"
    assert fetch_model(str(released), out) == fetch_model(str(released), out)
    (out / "config.yaml").write_text("seed: 1\n")
    assert "out exists and its config.yaml differs" in refused(fetch_model, str(released), out)
    assert (out / "config.yaml").read_text() == "seed: 1\n"


def test_wrong_sources_are_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    for arguments, message in (
        (["nothing"], "nothing: no folder, archive (.zip, .tar.gz, .tgz, .tar), YAML file"),
        (["here", "--revision", "main"], "--revision main: here is not a repository"),
    ):
        assert message in refusal("fetch-model", *arguments, "--out", "out")
        assert not (tmp_path / "out").exists()


def test_a_folder_is_whole_or_absent(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_folder(tmp_path / "out") as partial:
        (partial / "file").rename(partial / "no such folder" / "file")
    assert list(tmp_path.iterdir()) == []
    with atomic_folder(tmp_path / "out") as partial:
        (partial / "file").write_text("whole")
    assert (tmp_path / "out" / "file").read_text() == "whole"
    with pytest.raises(TidyVoiceError, match="out exists"), atomic_folder(tmp_path / "out"):
        pass
