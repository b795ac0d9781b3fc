import os
import shutil
from types import SimpleNamespace

import pytest
from conftest import prepared, small_disk

from tidyvoice.config import Experiment
from tidyvoice.data.packing import write_shards
from tidyvoice.doctor import disk
from tidyvoice.embeddings import save_embeddings
from tidyvoice.files import only_writer
from tidyvoice.manifest import Manifest
from tidyvoice.training.average import average_checkpoints
from tidyvoice.training.trainer import Trainer


@pytest.fixture
def settings(experiment):
    return Experiment.model_validate(experiment)


def bytes_below(folder, pattern):
    return sum(path.stat().st_size for path in folder.rglob(pattern))


def test_the_estimate_of_shards_is_their_size(tmp_path):
    data = prepared(tmp_path, speakers=3, utterances=2)
    manifest = Manifest.read(data)
    need = disk.shard_need(data, manifest)
    write_shards(data)
    # A tar file is filled up to a multiple of 10,240 bytes.
    assert need.size <= bytes_below(data, "*.tar") <= need.size + 2 * 10240
    assert disk.shard_need(data, manifest) is None


def test_long_names_take_more_room(tmp_path):
    short = Manifest.build(["a.wav"], ["x"], ["s"], seconds=[1.0])
    long = Manifest.build(["a" * 120], ["x"], ["s"], seconds=[1.0])
    sizes = [disk.shard_need(tmp_path, manifest).size for manifest in (short, long)]
    assert sizes == [512 * (3 + 63), 512 * (3 + 63 + 4)]
    assert disk.shard_need(tmp_path, Manifest.build(["a"], ["x"], ["s"])) is None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"keep_checkpoints": 1},
        {"optimizer": {"name": "AdamW"}},
        {"optimizer": {"momentum": 0.0, "nesterov": False}},
    ],
)
def test_the_estimate_of_checkpoints_is_their_size(experiment, changes):
    settings = Experiment.model_validate(experiment | changes)
    classes = 6 * len(settings.data.speeds)
    need = disk.checkpoint_need(settings, classes)
    Trainer(settings).run()
    average_checkpoints(settings.experiment, 1)
    written = bytes_below(settings.experiment / "models", "*.pt")
    _, parameters = disk.weight_bytes(settings)
    spare = 4 * parameters if settings.keep_checkpoints < settings.epochs else 0
    # Names of tensors, of speakers and settings, and the alignment of tensors come on top.
    files = len(list((settings.experiment / "models").glob("*.pt")))
    assert written - files * 150_000 < need.size < written + spare
    left = disk.checkpoint_need(settings, classes)
    assert left is None or left.size <= spare


def test_the_estimate_of_embeddings_is_their_size(settings, tiny):
    manifest = Manifest.read(tiny / "train")
    need = disk.embedding_need(settings, [manifest])
    ids = manifest.table["utterance"].to_list()
    file = settings.experiment / "embeddings" / "dev.npz"
    save_embeddings(file, ids, [[0.0] * 16] * len(ids))
    # The headers of the archive and of its two arrays.
    assert need.size < file.stat().st_size < need.size + 1000
    assert disk.embedding_need(settings, [manifest]) is None
    twice = disk.embedding_need(settings, [manifest, manifest])
    assert twice.size == 2 * need.size - file.stat().st_size


def test_what_is_written_is_what_the_trainings_read(settings, tmp_path):
    data = prepared(tmp_path, speakers=2, utterances=2)
    manifest, dev, divided = Manifest.read(data), tmp_path / "dev", tmp_path / "divided"
    first, second = (divided / f"part-{number:03d}-of-002" for number in (1, 2))
    folders = {data: manifest, dev: manifest, divided: manifest}
    parts = {data: manifest, dev: manifest, first: manifest, second: manifest}

    def needed(experiments, *arguments):
        return [need.what for need in disk.needs(experiments, folders, parts, *arguments)]

    assert needed([], [dev]) == [f"shards of {part}" for part in parts]
    reading = settings.data.model_copy(update={"train": (data, divided)})
    experiment = settings.model_copy(update={"data": reading})
    assert needed([experiment], [dev], tmp_path / "elsewhere") == [
        f"shards of {data}",
        f"shards of {first}",
        f"shards of {second}",
        f"checkpoints of {tmp_path / 'elsewhere'}",
        f"embeddings in {tmp_path / 'elsewhere'}",
    ]
    assert needed([experiment], [])[-1] == f"checkpoints of {settings.experiment}"


@pytest.mark.parametrize(("free", "status"), [(3000, "OK"), (2100, "WARN"), (1900, "FAIL")])
def test_free_space_is_compared_with_the_sum(tmp_path, monkeypatch, free, status):
    wanted = [disk.Need(tmp_path / "a", 1500, "shards"), disk.Need(tmp_path / "b/c", 500, "models")]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    (finding,) = disk.room(wanted, [tmp_path / "exp"])
    assert finding.status == status
    assert finding.measured == f"{free / 1000:g} kB free"
    assert finding.expected.startswith("2 kB still to be written")
    assert "shards 1.5 kB, models 500 bytes" in finding.expected


def test_each_file_system_is_told_of_apart(tmp_path):
    with small_disk(tmp_path / "small", "1m"):
        wanted = [
            disk.Need(tmp_path / "a", 1000, "shards"),
            disk.Need(tmp_path / "small" / "b", 2_000_000, "models"),
        ]
        found = disk.room(wanted, [])
    assert [finding.status for finding in found] == ["OK", "FAIL"]
    assert str(tmp_path / "small") in found[1].subject
    assert "put --exp or the data folders on a larger disk" in found[1].mend


def test_a_folder_that_cannot_be_written_in_fails(tmp_path, monkeypatch):
    assert disk.writable([tmp_path])[0].measured == "writable"
    assert disk.writable([tmp_path / "a/b"])[0].measured == "can be made"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    (finding,) = disk.writable([tmp_path / "file" / "exp"])
    assert finding.status == "FAIL"
    assert f"{tmp_path / 'file'} cannot be written in" in finding.measured

    def refuse(dir):
        raise PermissionError(13, os.strerror(13), str(dir))

    monkeypatch.setattr(disk.tempfile, "TemporaryFile", refuse)
    (finding,) = disk.writable([tmp_path])
    assert "cannot be written in (Permission denied)" in finding.measured


def test_another_process_that_writes_is_told_of(tmp_path):
    with only_writer(tmp_path):
        found = disk.writable([tmp_path])
    assert [finding.status for finding in found] == ["OK", "FAIL"]
    assert str(found[1]).startswith(f"FAIL  {tmp_path}: another process is writing there")
    assert [finding.status for finding in disk.writable([tmp_path])] == ["OK"]
