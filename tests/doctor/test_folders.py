import shutil

import polars as pl
import pytest
import soundfile
from conftest import prepared

from tidyvoice.data.packing import write_shards
from tidyvoice.doctor import folders
from tidyvoice.doctor.expected import TrialCount
from tidyvoice.manifest import Manifest


@pytest.fixture
def data(tmp_path):
    return prepared(tmp_path, speakers=3, utterances=4)


def lines(findings):
    return "\n".join(map(str, findings))


def test_sound_tables_are_counted(data):
    manifest, found = folders.tables(data)
    expected = "the tables agree: 12 utterances, 3 speakers, 2 languages"
    assert lines(found) == f"OK    {data}: {expected}"
    assert len(manifest) == 12
    assert "shortest 0.5 s, median 0.65 s, longest 0.8 s, 0.00 h" in lines(
        folders.durations(data, manifest)
    )
    assert "12 of 12 files looked at: readable, 16 kHz" in lines(
        folders.headers(data, manifest, 200)
    )


@pytest.mark.parametrize("table", ["wav.scp", "utt2spk", "spk2utt"])
def test_a_missing_table_is_named(data, table):
    (data / table).unlink()
    _, found = folders.tables(data)
    assert f"{data / table} is missing" in lines(found)
    assert {finding.status for finding in found} == {"FAIL"}


def test_tables_that_disagree_are_named_up_to_ten(data):
    with open(data / "spk2utt", "a") as file:
        file.writelines(f"stranger{number:02d} x\n" for number in range(13))
    _, found = folders.tables(data)
    assert "speaker stranger09 is in only one of utt2spk and spk2utt" in lines(found)
    assert str(found[-1]).endswith("3 more such problems")
    assert len(found) == 11


def test_durations_that_are_missing_or_nothing_fail(data):
    (data / "utt2dur").unlink()
    (finding,) = folders.durations(data, Manifest.read(data))
    assert finding.status == "FAIL"
    table = Manifest.read(data).table
    (finding,) = folders.durations(data, Manifest(table.with_columns(seconds=pl.lit(0.0))))
    assert finding.status == "FAIL"


def test_videos_need_no_durations_and_only_have_to_be_there(tmp_path):
    (tmp_path / "a.m4a").write_bytes(b"not looked at")
    paths = [str(tmp_path / name) for name in ("a.m4a", "b.m4a")]
    Manifest.build(["a", "b"], paths, ["s", "s"]).write(tmp_path / "data")
    found, manifests = folders.look(tmp_path / "data", None)
    assert list(manifests) == [tmp_path / "data"]
    text = lines(found)
    assert f"WARN  {tmp_path}/data/utt2dur: missing: only decoding tells the durations" in text
    assert "b.m4a is missing: restore" in text
    assert text.count("FAIL") == 1


def test_a_divided_folder_is_looked_at_part_by_part(data):
    manifest = Manifest.read(data)
    divided = data.parent / "divided"
    for number, speaker in enumerate(("id000000", "id000001"), 1):
        manifest.select([speaker]).write(divided / f"part-{number:03d}-of-002")
    found, manifests = folders.look(divided, 3)
    assert [len(part) for part in manifests.values()] == [4, 4]
    assert lines(found).count("2 of 4 files looked at") == 2
    shutil.rmtree(divided / "part-001-of-002")
    found, manifests = folders.look(divided, 3)
    assert manifests == {}
    assert f"FAIL  {divided}: {divided} lacks part-001-of-002" in lines(found)


def test_files_that_were_unreadable_may_be_absent_from_shards(data):
    manifest = Manifest.read(data)
    (data.parent / "corpus/id000000/en/en_0.wav").write_bytes(b"no audio")
    write_shards(data, tolerate=0.1)
    found = folders.shards(data, manifest)
    assert [finding.status for finding in found] == ["OK", "OK"]
    assert "1 files were unreadable and left out, see" in found[0].measured
    assert found[1].measured == "the 11 utterances of the tables, in tar files: 1"


def test_headers_are_looked_at_evenly(data):
    manifest = Manifest.read(data)
    paths = manifest.table["path"].to_list()
    shutil.copy(paths[1], paths[0])
    text = lines(folders.headers(data, manifest, 2))
    assert f"{paths[0]} lasts 0.700 s, its utt2dur says 0.500" in text
    soundfile.write(paths[-1], [0.0] * 8000, 8000)
    text = lines(folders.headers(data, manifest, 2))
    assert f"{paths[-1]} has 8000 Hz, expected 16000" in text
    assert "utt2dur" not in text
    assert f"OK    {data}/wav.scp: 2 of 12 files looked at" in text
    (data.parent / "corpus/id000001/en/en_0.wav").unlink()
    assert "en_0.wav is missing" not in lines(folders.headers(data, manifest, 2))
    assert "id000001/en/en_0.wav is missing" in lines(folders.headers(data, manifest, None))
    assert folders.headers(data, manifest, 0) == []


def test_shards_are_compared_with_the_tables(data):
    manifest = Manifest.read(data)
    assert "not there yet" in lines(folders.shards(data, manifest))
    write_shards(data, per_shard=5)
    assert lines(folders.shards(data, manifest)) == (
        f"OK    {data}/shards: the 12 utterances of the tables, in tar files: 3"
    )
    fewer = manifest.select(["id000000", "id000001"])
    assert "4 utterances in them are not in the tables" in lines(folders.shards(data, fewer))
    table = manifest.table.with_columns(
        utterance=pl.col("utterance").replace("id000000/en/en_0.wav", "new"),
        seconds=pl.when(pl.col("speaker") == "id000002").then(9.0).otherwise("seconds"),
    )
    text = lines(folders.shards(data, Manifest(table)))
    assert "1 utterances of the tables are not in them" in text
    assert "1 utterances in them are not in the tables" in text
    assert "4 utterances have another length than in utt2dur (expected 0): remove" in text


def test_damaged_shards_are_named(data):
    manifest = Manifest.read(data)
    write_shards(data, per_shard=5)
    shard = data / "shards/shard-000001.tar"
    shard.write_bytes(shard.read_bytes()[:-20000])
    (data / "shards/shard-000002.tar").unlink()
    found = folders.shards(data, manifest)
    assert [finding.status for finding in found] == ["FAIL", "FAIL"]
    assert f"{shard}: cut short, {shard.stat().st_size:,} bytes (expected 1" in str(found[0])
    assert "shard-000002.tar: missing" in str(found[1])
    (data / "shards/index.parquet").write_bytes(b"no table")
    assert "cannot be read" in lines(folders.shards(data, manifest))
    (data / "shards/shards.json").unlink()
    assert "is missing or unfinished" in lines(folders.shards(data, manifest))


def test_shared_speakers_fail_unless_different_trainings_read_them(data, tmp_path):
    manifest = Manifest.read(data)
    one, two, other = (tmp_path / name for name in ("train", "dev", "other"))
    parts = {
        one: manifest,
        two: manifest.select(["id000001", "id000002"]),
        other: manifest.select(["id000000"]),
    }
    found = folders.disjoint(parts, [[one], [other]])
    assert [finding.status for finding in found] == ["FAIL", "OK", "OK"]
    assert "2 in both (id000001, id000002) (expected none)" in str(found[0])
    assert found[1].measured == "1 in both (id000000); different trainings read them"
    assert found[2].measured == "disjoint"
    (together,) = folders.disjoint({one: parts[one], other: parts[other]}, [[one, other], [one]])
    assert together.status == "FAIL"
    assert "or one of them with a --prefix" in together.mend


def test_trial_lists_are_counted_and_their_utterances_looked_for(data, tmp_path):
    manifest = {data: Manifest.read(data)}
    path = tmp_path / "trials"
    path.write_text("1 id000000/en/en_0 id000000/fr/fr_1.wav\n0 id000000/en/en_0 id9/en/a.wav\n")
    found = folders.trials([path], {"trials": TrialCount(lines=3)}, manifest)
    assert [finding.status for finding in found] == ["FAIL", "FAIL"]
    assert "2 trials (expected 3)" in str(found[0])
    assert "1 of 3 utterances in no data folder, such as id9/en/a.wav" in str(found[1])
    (finding,) = folders.trials([path], {"trials": TrialCount(lines=2)}, {})
    assert finding.status == "OK"
    path.write_text("a b\n")
    assert "1 trials, without labels" in lines(folders.trials([path], {}, {}))
    path.write_text("a b c d e\n")
    assert "trials:1" in lines(folders.trials([path], {}, {}))
    assert "FAIL" in lines(folders.trials([tmp_path / "none"], {}, {}))
