"""Every kind of file that is read, with seeded damage.

A command ends with success, or in one line that names what is wrong: never in a traceback, after
ten seconds of computing, with two gigabytes of memory, or with a changed input. Where a file has
checksums, success means the same result as with the undamaged file.
"""

import gzip
import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import safetensors.torch
import soundfile
import torch
import yaml

from tests import preloaded
from tests.conftest import seeded, stop_extraction, succeed
from tests.damages import ARRAYS, BYTES, CHECKPOINT, TABLE, TENSORS, TREE, Damage
from tidyvoice.data.manifest import Manifest
from tidyvoice.data.packing import write_shards
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.files import sha256

ROUNDS = 6  # damaged files of each kind: two of each of up to three damages
# Runs a command within 10 s of computing and 2 GB beyond the packages that are loaded already.
LIMITED = """
import resource
from tidyvoice.cli import main
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * resource.getpagesize() + 2 * 2**30
resource.setrlimit(resource.RLIMIT_AS, (size, size))
resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
main()
"""
RESULTS = {"dev": {"eer_percent": {"all/all": 3.0}, "min_dcf": {"all/all": 0.8}}}
PUBLISHED = {
    "lists": {"dev": {"name": "the development list", "trials": 58}},
    "systems": {"baseline": {"source": "a paper", "results": RESULTS}},
}


@dataclass(frozen=True)
class Kind:
    """A file, and a command that reads it and writes to OUT.

    The ``checked`` kinds of damage meet a checksum: they must not change the result. OUT/copy is a
    copy of the file's top folder, for commands that write there.
    """

    file: str
    command: str
    damages: tuple[Damage, ...] = BYTES
    checked: tuple[Damage, ...] = ()


EXTRACT = "extract --strict --model model --out OUT/e.npz --data"
EMBED = "embed a.wav --out OUT/e.npz --model"
SCORE = "score --embeddings e.npz --trials trials --out OUT/s"
METRICS = "metrics OUT/copy/dev.score"
CALIBRATE = "calibrate --use c.json --out OUT/s --allow-overlap --apply"
AVERAGE, RESUME = "average OUT/copy", "train train.yaml epochs=1 experiment=OUT/copy"
FETCH = "fetch-model --out OUT/m"
PARTS, GO_ON = "parts/e.npz.parts", "extract --model model --data data --out OUT/copy/e.npz"
KINDS = {
    "settings": Kind("train.yaml", "train train.yaml --check", TREE),
    "paths": Kind("data/wav.scp", f"{EXTRACT} data", TABLE),
    "speakers": Kind("data/utt2spk", "trials data --out OUT/t --targets 9 --nontargets 9", TABLE),
    "durations": Kind("data/utt2dur", f"{EXTRACT} data", TABLE),
    "recording": Kind("a.wav", f"{EMBED} model"),
    "corpus file": Kind("wavs/0.wav", f"{EXTRACT} data"),
    "trials": Kind("trials", SCORE, TABLE),
    "scores": Kind("scores/dev.score", METRICS, TABLE),
    "provenance": Kind("scores/dev.score.json", METRICS, TREE),
    "compressed scores": Kind("dev.score.gz", f"{CALIBRATE} dev.score.gz", checked=BYTES),
    "published results": Kind(
        "scores/papers.yaml", f"{METRICS} --published OUT/copy/papers.yaml", TREE
    ),
    "evaluation": Kind("scores/dev.metrics.json", METRICS, TREE, TREE),
    "embeddings": Kind("e.npz", SCORE, ARRAYS),
    "enrolled voices": Kind("voices.npz", "voices voices.npz", ARRAYS, BYTES),
    "verifier": Kind("model/verifier.json", "verify a.wav b.wav --model model", TREE),
    "calibration": Kind("c.json", f"{CALIBRATE} scores/dev.score", TREE),
    "summary": Kind("packed/shards/shards.json", f"{EXTRACT} packed", TREE),
    "index": Kind("packed/shards/index.parquet", f"{EXTRACT} packed", checked=BYTES),
    "shard": Kind("packed/shards/shard-000000.tar", f"{EXTRACT} packed", checked=BYTES),
    "checkpoint": Kind("exp/models/model_0001.pt", AVERAGE, CHECKPOINT, BYTES),
    "resumed checkpoint": Kind("exp/models/model_0001.pt", RESUME, CHECKPOINT),
    "plan of an extraction": Kind(f"{PARTS}/plan.json", GO_ON, TREE, TREE),
    "part of an extraction": Kind(f"{PARTS}/000000-0000.npz", GO_ON, ARRAYS, ARRAYS),
    "class weights": Kind("exp/models/head.pt", "train again.yaml experiment=OUT/x", CHECKPOINT),
    "training log": Kind("exp/log/train.jsonl", "runs exp", TABLE),
    "weights": Kind("model/avg_model.pt", f"{EMBED} model", CHECKPOINT, BYTES),
    "tensors": Kind("safe/model.safetensors", f"{EMBED} safe", TENSORS),
    "model settings": Kind("safe/config.yaml", f"{EMBED} safe", TREE),
    "training speakers": Kind("model/speakers.txt", f"{EMBED} model", TABLE),
    "record": Kind("exp/record.json", "runs exp", TREE),
    "record of a resumed training": Kind("exp/record.json", RESUME, TREE),
    "archive, zip": Kind("model.zip", f"{FETCH} model.zip", checked=BYTES),
    "archive, tar.gz": Kind("model.tar.gz", f"{FETCH} model.tar.gz", checked=BYTES),
}


@pytest.fixture(scope="module")
def valid(tmp_path_factory, trained, voices) -> Path:
    """A folder with a valid file of each kind, and with a finished training."""
    folder = tmp_path_factory.mktemp("valid")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("wavs", "scores", "safe"):
            Path(name).mkdir()
        shutil.copy(voices / "ann-1.wav", "a.wav")
        shutil.copy(voices / "bob-1.wav", "b.wav")
        shutil.copytree(voices / "model", "model")
        shutil.copytree(trained.experiment, "exp", ignore=lambda *_: ["scores", "embeddings"])
        for kind in ("zip", "gztar"):
            shutil.make_archive("model", kind, "model")
        weights = torch.load("model/avg_model.pt", weights_only=True)
        safetensors.torch.save_file(weights, "safe/model.safetensors")
        settings = yaml.safe_load(Path("exp/config.yaml").read_text())
        initial = {"model": {**settings["model"], "init": "exp/models"}}
        for name, content in (
            ("train.yaml", settings),
            ("again.yaml", settings | initial | {"loss": {"init": "checkpoint"}}),
            ("safe/config.yaml", yaml.safe_load(Path("model/config.yaml").read_text())),
            ("scores/papers.yaml", PUBLISHED),
        ):
            Path(name).write_text(json.dumps(content))
        write_data(Manifest.read(trained.folder / "data/known").table)
        scores = "scores/dev.score"
        fit = f"calibrate --fit {scores} --save c.json --apply {scores} --out llr.score"
        for command in (
            "trials data --out trials --targets 8 --nontargets 50",
            "extract --model model --data data --out e.npz",
            f"score --embeddings e.npz --trials trials --out {scores}",
            f"metrics {scores}",
            f"{fit} --allow-overlap",
            "enroll Ann a.wav --model model --voices voices.npz",
            "enroll Bob b.wav --model model --voices voices.npz",
        ):
            succeed(*command.split())
        Path("dev.score.gz").write_bytes(gzip.compress(Path(scores).read_bytes()))
        encoder = SpeakerEncoder.from_pretrained("model", "cpu")
        stop_extraction(encoder, Path("data"), Path("parts/e.npz"))
    return folder


def write_data(known: pl.DataFrame) -> None:
    """Write some recordings in three lengths, the data folder of them, and their shards."""
    known = known.filter(pl.col("utterance").str.contains("_[01].wav"))
    paths = [f"wavs/{number}.wav" for number in range(len(known))]
    for number, (path, source) in enumerate(zip(paths, known["path"], strict=True)):
        samples, rate = soundfile.read(source, dtype="int16")
        soundfile.write(path, samples[: -1 - 4000 * (number % 3)], rate)
    columns = [known[name].to_list() for name in ("speaker", "language")]
    manifest = Manifest.build(known["utterance"].to_list(), paths, *columns)
    manifest.write("packed")
    manifest.measured().write("data")
    write_shards("packed", per_shard=5)


@pytest.mark.parametrize("name", KINDS)
def test_damage_is_one_line_or_changes_nothing(valid, name, tmp_path):
    kind, folder = KINDS[name], tmp_path / "valid"
    shutil.copytree(valid, folder)
    content = (folder / kind.file).read_bytes()
    expected = run(kind, folder, content)
    assert expected.status == 0, expected.stderr
    wrong = []
    for number in range(ROUNDS):
        damage = kind.damages[number % len(kind.damages)]
        result = run(kind, folder, damage(seeded(number, len(name)), content))
        same = (result.stdout, result.written) == (expected.stdout, expected.written)
        if result.status == 0 and damage in kind.checked and not same:
            wrong.append(f"{number}: another result")
        wrong += [f"{number}: {problem}" for problem in problems(result)]
    assert not wrong, "\n".join(wrong)


@dataclass(frozen=True)
class Result:
    """The status and the output of a command, the checksums of the files that it wrote."""

    status: int
    stdout: str
    stderr: str
    written: dict[str, str]
    inputs_changed: list[str]


def run(kind: Kind, folder: Path, content: bytes) -> Result:
    """Run the command of a kind with this content of its file, in a folder that it may change."""
    damaged, out = folder / kind.file, folder / "OUT"
    shutil.rmtree(out, ignore_errors=True)
    damaged.write_bytes(content)
    before = checksums(folder)
    out.mkdir()
    if "OUT/copy" in kind.command:
        top, _, rest = kind.file.partition("/")
        shutil.copytree(folder / top, out / "copy")
        damaged = out / "copy" / rest
    result = preloaded.run("python", "-c", LIMITED, *kind.command.split(), cwd=folder)
    after = checksums(folder)
    written = {name: after.pop(name) for name in list(after) if name.startswith("OUT/")}
    written.pop(str(damaged.relative_to(folder)), None)
    changed = [name for name in before | after if before.get(name) != after.get(name)]
    return Result(result.returncode, result.stdout, result.stderr, written, changed)


def checksums(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256(path) for path in files}


def problems(result: Result) -> list[str]:
    """Say what is wrong with the end of a command."""
    # Libraries and our own warnings write lines that name their kind.
    lines = [line for line in result.stderr.splitlines() if "arning: " not in line]
    problems = [f"{name} was changed" for name in result.inputs_changed]
    if result.status == 0:
        return problems
    if result.status != 1 or len(lines) != 1 or not lines[0].startswith("error: "):
        problems.append(f"status {result.status}: {result.stderr[-2000:]}")
    elif len(lines[0]) > 2500:
        problems.append(f"a line of {len(lines[0])} letters: {lines[0][:2000]}")
    return problems


class Marker:
    """An object whose pickle creates a file when it is loaded."""

    def __reduce__(self) -> tuple:
        return Path.touch, (Path("OUT/executed"),)


@pytest.mark.parametrize("name", ["weights", "checkpoint", "class weights", "embeddings"])
def test_code_in_a_file_does_not_run(valid, name, tmp_path):
    kind, folder = KINDS[name], tmp_path / "valid"
    shutil.copytree(valid, folder)
    file = io.BytesIO()
    if kind.file.endswith(".npz"):
        np.savez(file, ids=np.array([Marker()]), embeddings=np.array([Marker()]))
    else:
        torch.save({"model": Marker()}, file)
    result = run(kind, folder, file.getvalue())
    assert not any(file.endswith("executed") for file in result.written)
    assert result.status == 1
    assert not problems(result)
