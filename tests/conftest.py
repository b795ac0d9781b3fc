"""Fixtures shared by the tests."""

import json
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import DEFAULT, Mock

import numpy as np
import pytest
import soundfile
import torch
from click.testing import Result
from filelock import FileLock
from typer.testing import CliRunner

from tests import preloaded
from tests.publish.support import Trained, make_trained
from tests.recipe.support import RECIPE, copy_project
from tests.report.support import COHORT, COSINE, LLR, make_experiment
from tidyvoice.cli import app, spread
from tidyvoice.config import ModelSettings
from tidyvoice.data.manifest import Manifest, scan
from tidyvoice.data.packing import write_shards
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.extraction import extract as extraction
from tidyvoice.extraction.extract import extract
from tidyvoice.frontend import FrontendSettings
from tidyvoice.modelhub.folder import save_model_config
from tidyvoice.models import MODELS, build_model
from tidyvoice.models.simam_resnet import SimAMResNetASP
from tidyvoice.readahead import usable_cores
from tidyvoice.scoring.pairs import make_trials
from tidyvoice.scoring.trials import write_trials
from tidyvoice.verification.fit import fit_verifier

# Tests may share the machine: threads that wait for each other on a busy core are slower than one.
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the longest files first, so that no process is left with one of them at the end."""
    longest = "recipe real_recipe distributed documented_commands interruptions export options"
    places = {f"test_{name}.py": place for place, name in enumerate(longest.split())}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("numprocesses", None):
        preloaded.programs()  # the workers share its server


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two workers more than cores, because many tests wait for programs; none for a single file."""
    alone = len(config.args) == 1 and ".py" in config.args[0]
    return 0 if alone else usable_cores() + 2


def require(condition: bool, reason: str) -> None:
    """Skip with a reason where a tool is absent, but fail where CI promises that it is there."""
    if not condition:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


def require_triton() -> None:
    reason = "the kernels for CUDA need Triton, which torch brings along on Linux"
    require(bool(find_spec("triton")) or sys.platform != "linux", reason)
    pytest.importorskip("triton", reason=reason)


def invoke(line: str, *more: object) -> Result:
    """`tidyvoice` with the words of a line and further arguments, in this process."""
    return CliRunner().invoke(app, spread([*line.split(), *map(str, more)]))


def succeed(line: str, *more: object) -> str:
    """Return what `tidyvoice` prints with these arguments; it must succeed."""
    result = invoke(line, *more)
    assert result.exit_code == 0, result.output
    return result.output


def refusal(line: str, *more: object) -> str:
    """Return the one line of a command that must fail."""
    result = invoke(line, *more)
    assert result.exit_code == 1, result.output
    (message,) = result.output.strip().splitlines()
    assert message.startswith("error: ")
    return message


def refused(call: Callable, *arguments: object, **options: object) -> str:
    """Return the one-line message of a call that must fail."""
    with pytest.raises(TidyVoiceError) as error:
        call(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Chromium without a window."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    require(chromium is not None, "no chromium: install it to have pages tried in a browser")
    require(bool(find_spec("playwright")), "playwright is not installed: it is in the extra test")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of ``size`` (as mount says it) at ``folder``."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = shutil.which("mount") and subprocess.run(mount, capture_output=True).returncode == 0
    require(bool(mounted), "a small file system cannot be mounted here (needs root)")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def seeded(*seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(list(seed)))


def reference_weights(shapes: dict[str, Sequence[int]], seed: int) -> dict[str, torch.Tensor]:
    """The reference weights of the named tensors, each a function of its name (tests/golden.md)."""
    state = {}
    for name, shape in shapes.items():
        x = seeded(seed, zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
        if name.endswith("num_batches_tracked"):
            x = np.zeros(shape, np.int64)
        elif name.endswith(("running_mean", "bias")):
            x = x * np.float32(0.1)
        elif name.endswith("running_var"):
            x = 1 + np.float32(0.1) * np.abs(x)
        elif x.ndim == 1:
            x = 1 + np.float32(0.1) * x
        else:
            x = x / np.float32(np.sqrt(np.prod(shape[1:])))
        state[name] = torch.from_numpy(np.asarray(x, dtype=x.dtype))
    return state


def fill_weights(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Give a model the reference weights."""
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    model.load_state_dict(reference_weights(shapes, seed))
    return model.eval()


def reference_waveform(seed: int, samples: int) -> np.ndarray:
    """Speech-like int16 samples of the reference cases (tests/golden.md)."""
    x = seeded(seed, 41).standard_normal(samples)
    x = np.cumsum(x) * 0.2 + x
    x = x - np.convolve(x, np.ones(400) / 400, mode="same")
    x = x / np.abs(x).max() * 20000 * np.hanning(samples) ** 0.25
    return np.round(x).astype(np.int16)


@pytest.fixture(scope="session")
def golden() -> dict:
    return json.loads((Path(__file__).parent / "golden.json").read_text())


def write_model(folder: Path, in_planes: int = 2, embed_dim: int = 16, seed: int = 3) -> None:
    """Write a model folder with the reference weights of a narrow network."""
    sizes = {"in_planes": in_planes, "embed_dim": embed_dim}
    model = fill_weights(build_model("SimAM_ResNet34_ASP", **sizes), seed)
    save_model_config(folder, ModelSettings(args=sizes), FrontendSettings(), ["somebody"])
    torch.save(model.state_dict(), folder / "avg_model.pt")


def stop_extraction(
    encoder: SpeakerEncoder, data: Path, out: Path, batches: int = 1, **options: int
) -> None:
    """Play Ctrl-C after some batches, each of which is written at once."""
    effects = [DEFAULT] * batches + [KeyboardInterrupt]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extraction, "SHARE", 0.0)
        patch.setattr(extraction, "SHORTEST", 0.0)
        embed = Mock(wraps=encoder.embed_samples, side_effect=effects)
        patch.setattr(encoder, "embed_samples", embed)
        with pytest.raises(KeyboardInterrupt):
            extract(encoder, data, out, **options)


def write_corpus(root: Path, speakers: int, utterances: int, seconds: float = 2.2) -> None:
    """SPEAKER/LANGUAGE/FILE.wav: each speaker a harmonic tone of its own in noise of its own."""
    for speaker in range(speakers):
        for utterance in range(utterances):
            rng = seeded(speaker, utterance)
            time = np.arange(int((seconds + 0.1 * utterance) * 16000)) / 16000
            pitch = 100 * 1.12**speaker
            tone = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 9))
            samples = 0.1 * tone + 0.02 * rng.standard_normal(len(time))
            language = ("en", "fr")[utterance % 2]
            path = root / f"id{speaker:06d}" / language / f"{language}_{utterance}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, samples, 16000, subtype="PCM_16")


def write_clear_voices(root: Path, seconds: float) -> None:
    """Write every SPEAKER/.../FILE.wav anew, so that even untrained models tell speakers apart.

    No training, however it ends, can then give scores that a calibration refuses.
    """
    time = np.arange(round(seconds * 16000)) / 16000
    for speaker in root.iterdir():
        rng = seeded(zlib.crc32(speaker.name.encode()))
        pitches, rates = rng.uniform(100, 4000, (8, 1)), rng.uniform(2, 10, (8, 1))
        syllables = 1 - np.cos(2 * np.pi * rates * time)
        tones = (syllables * np.sin(2 * np.pi * pitches * time)).mean(axis=0)
        voice = 9000 * tones + 200 * rng.standard_normal(len(time))
        voice *= 0.5 - 0.5 * np.cos(2 * np.pi * 3 * time)
        for path in sorted(speaker.rglob("[!.]*.wav")):
            bits = rng.uniform(-1, 1, len(time))
            soundfile.write(path, np.round(voice + bits).astype(np.int16), 16000)


def prepared(folder: Path, speakers: int, utterances: int, seconds: float = 0.5) -> Path:
    """A data folder made from ``write_corpus``, beside its corpus."""
    write_corpus(folder / "corpus", speakers, utterances, seconds)
    scan(folder / "corpus", language_folder=True).write(folder / "data")
    return folder / "data"


def write_sounds(root: Path, kinds: tuple[str, ...], seconds: float, decay: float = 0.0) -> None:
    """KIND/SOURCE/FILE.wav: two noises a kind, decaying by ``decay`` nepers a second."""
    for number, kind in enumerate(kinds):
        for index in range(2):
            time = np.arange(int(seconds * 16000)) / 16000
            noise = 0.3 * seeded(number, index, 7).standard_normal(len(time))
            path = root / kind / "source" / f"{kind}-{index}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, noise.clip(-1, 1) * np.exp(-decay * time), 16000)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sharded data folders train, noise and rirs. Read only."""
    folder = tmp_path_factory.mktemp("tiny")
    write_corpus(folder / "corpus", speakers=6, utterances=4)
    write_sounds(folder / "musan", ("noise", "music", "speech"), seconds=1.5)
    write_sounds(folder / "rooms", ("smallroom",), seconds=0.3, decay=20)
    for name, root in (("train", "corpus"), ("noise", "musan"), ("rirs", "rooms")):
        scan(folder / root, language_folder=name == "train").write(folder / name)
        write_shards(folder / name, per_shard=7)
    return folder


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Two systems on one list, the main one calibrated and in sample; and one that lacks all."""
    root = tmp_path_factory.mktemp("report")
    main = make_experiment(root / "fine & tuned", steps=(COSINE, COHORT, LLR))
    other = make_experiment(root / "scratch", shift=0.3, log=False, seed=1, steps=(COSINE,))
    bare = make_experiment(root / "bare", shift=9.0, log=False, flat=True)
    (bare / "config.yaml").unlink()
    succeed("report", main, "--compare", other, "--bootstrap", 200, "--out", root / "two.html")
    succeed("report", bare, "--out", root / "bare.html")
    return {"two": root / "two.html", "bare": root / "bare.html", "main": main, "other": other}


@pytest.fixture(scope="module")
def shallow() -> Iterator[None]:
    """Build networks of one block a stage in this process, which are faster."""
    with pytest.MonkeyPatch.context() as patch:
        one_block = partial(SimAMResNetASP, (1, 1, 1, 1))
        patch.setitem(MODELS, "SimAM_ResNet34_ASP", one_block)
        yield


@pytest.fixture
def experiment(tiny: Path, tmp_path: Path) -> dict:
    """Settings of a training that takes a second, as the YAML file would hold them."""
    data = {name: str(tiny / name) for name in ("train", "noise", "rirs")}
    data |= {"chunk_frames": 40, "augment_probability": 0.6, "batch_size": 5, "num_workers": 1}
    return {
        "experiment": str(tmp_path / "exp"),
        "epochs": 3,
        "epoch_iterations": 4,
        "log_iterations": 2,
        "device": "cpu",
        "data": data,
        "model": {"args": {"in_planes": 2, "embed_dim": 16}},
        "optimizer": {"name": "SGD"},
        "learning_rate": {"args": {"initial_lr": 0.05, "final_lr": 0.005}},
    }


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A copy of the project in which the recipe was run; and what it printed. Read only.

    A.wav and B.wav are of one speaker, C.wav is of another.
    """
    require(bool(find_spec("espeakng_loader")), "the built-in corpus needs pip install -e .[mini]")
    base = tmp_path_factory.getbasetemp()
    # The workers of pytest-xdist have folders of their own in a common one.
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "recipe"
    with FileLock(f"{folder}.lock"):
        printed = folder / "printed.txt"
        if not printed.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
            folder.mkdir()
            preloaded.succeed(f"{RECIPE} --stop-stage 1", copy_project(folder))
            corpus = folder / "data/mini/corpus"
            real = corpus / "TidyVoiceX_ASV"
            for part in (corpus / "pretrain", real / "TidyVoiceX_Train", real / "TidyVoiceX_Dev"):
                write_clear_voices(part, seconds=1.2)
            text = preloaded.succeed(RECIPE, folder)
            one, other = sorted((real / "TidyVoiceX_Dev").iterdir())[:2]
            wavs = [*sorted(one.rglob("*.wav"))[:2], min(other.rglob("*.wav"))]
            for name, wav in zip("ABC", wavs, strict=True):
                shutil.copy(wav, folder / f"{name}.wav")
            printed.write_text(text)
        return folder, printed.read_text()


@pytest.fixture
def own(finished: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of the finished recipe that a test may change."""
    return Path(shutil.copytree(finished[0], tmp_path / "own", symlinks=True))


@pytest.fixture
def validation(tiny: Path, tmp_path: Path) -> dict:
    """Settings that make a training measure trials of its own speakers."""
    ids = sorted(line.split()[0] for line in (tiny / "train/utt2spk").open())
    speakers = [i.partition("/")[0] for i in ids]
    with open(tmp_path / "trials", "wb") as file:
        write_trials(file, make_trials(ids, speakers, None, 20, 40, 1)[0])
    return {"data": str(tiny / "train"), "trials": str(tmp_path / "trials")}


@pytest.fixture(scope="session")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``model``, narrow, with its verifier, and ``ann-1.wav`` ... ``bob-3.wav``. Read only."""
    folder = tmp_path_factory.mktemp("voices")
    write_model(folder / "model")
    data = prepared(folder / "known", speakers=8, utterances=8, seconds=2.0)
    for path in (folder / "known").rglob("*.wav"):
        # Syllables, without which it would pass for noise.
        samples, rate = soundfile.read(path)
        envelope = 0.5 - 0.5 * np.cos(2 * np.pi * 3 * np.arange(len(samples)) / rate)
        soundfile.write(path, samples * envelope, rate, subtype="PCM_16")
    encoder = SpeakerEncoder.from_pretrained(folder / "model", "cpu")
    extract(encoder, data, folder / "known.npz")
    table = Manifest.read(data).table
    ids, speakers = table["utterance"].to_list(), table["speaker"].to_list()
    made, _ = make_trials(ids, speakers, None, targets=200, nontargets=1500, seed=1)
    with open(folder / "trials", "wb") as file:
        write_trials(file, made)
    # Their own mean, which is in-sample: it stands for that of a training on such tones.
    table = folder / "known.npz"
    verifier = fit_verifier(table, folder / "trials", table, allow_overlap=True)
    verifier.save(folder / "model")
    for name, speaker in (("ann", 1), ("bob", 7)):
        wavs = sorted((folder / "known/corpus" / f"id{speaker:06d}").glob("*/*.wav"))
        for number, wav in enumerate(wavs[-3:], 1):
            shutil.copy(wav, folder / f"{name}-{number}.wav")
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, voices: Path) -> Trained:
    """The experiment of ``make_trained``, in a folder with spaces in its name. Read only."""
    folder = tmp_path_factory.mktemp("ann's own files")
    corpus = Path(shutil.copytree(voices / "known/corpus", folder / "known"))
    write_clear_voices(corpus, seconds=2.0)
    return make_trained(folder, corpus, voices)


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Embeddings and scores of three lists, made by the commands."""
    from tests.scoring.support import write_pipeline

    return write_pipeline(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture
def scored(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of these scores as the current one."""
    monkeypatch.chdir(pipeline)
    return pipeline
