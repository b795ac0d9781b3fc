"""Extraction: its share of the machine's matrix-multiplication speed; and a large one, killed.

    python benchmarks/extraction.py
    python benchmarks/extraction.py --planes 8 --utterances 4 --runs 1 --many 0
    python benchmarks/extraction.py --utterances 4000 --runs 1 --many 0 --device cuda

First, SimAM-ResNet34 from WAV files of 3 to 8 s to a table. The plain loop is its
baseline: one utterance after the other, read by soundfile, torchaudio's filterbank, the model as it
is trained. Operations are counted as those of convolutions and matrix products
(``torch.utils.flop_counter``), and the speed that is compared with is that of a product of two
2048 x 2048 matrices on the CPU, measured before and after each (see ``training_options.py``). The
options take turns, shares are medians over the runs. On a GPU only the speed relative to real time
means something. It has not been measured, but modelled (see ``training_step.py``): that is printed
beside it.

Then many short utterances through a narrow model: once without a stop, and once killed twice and
started again, the last time as two processes. The tables must be the same bytes, and the memory
what it is for a tenth of the utterances.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
import torchaudio
from torch._subclasses import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode
from training_options import shares
from training_step import GPUS, hours

from tidyvoice.config import ModelSettings
from tidyvoice.data.manifest import scan
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.encoder.embedder import PRECISIONS
from tidyvoice.extraction.extract import extract
from tidyvoice.files import sha256
from tidyvoice.frontends import FrontendSettings
from tidyvoice.headers import INT16_SCALE
from tidyvoice.modelhub.folder import save_model_config, save_torch
from tidyvoice.models import build_model
from tidyvoice.scoring.embeddings import load_embeddings

MODEL, RATE = "SimAM_ResNet34_ASP", 16000


def write_corpus(root: Path, utterances: int, shortest: float, longest: float) -> Path:
    """A data folder of noise."""
    rng = np.random.Generator(np.random.PCG64(1))
    for number in range(utterances):
        path = root / f"corpus/id{number % 100:03d}/en/{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = rng.standard_normal(int(rng.uniform(shortest, longest) * RATE)) / 10
        soundfile.write(path, samples, RATE)
    scan(root / "corpus", language_folder=True).write(root / "data")
    return root / "data"


def write_model(folder: Path, planes: int) -> Path:
    """A model folder with random weights and a batch norm that is not the identity."""
    torch.manual_seed(1)
    model = build_model(MODEL, in_planes=planes)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    settings = ModelSettings(name=MODEL, args={"in_planes": planes, "embed_dim": model.embed_dim})
    save_model_config(folder, settings, FrontendSettings(), ["nobody"])
    save_torch(folder / "avg_model.pt", model.state_dict())
    return folder


def plain_loop(encoder: SpeakerEncoder, wavs: list[Path]) -> np.ndarray:
    """Embeddings [N x D] as they are usually made."""
    vectors = []
    for wav in wavs:
        samples, _ = soundfile.read(wav, dtype="float32")
        features = torchaudio.compliance.kaldi.fbank(
            torch.from_numpy(samples)[None] * INT16_SCALE,
            num_mel_bins=80,
            window_type="hamming",
            sample_frequency=RATE,
        )
        with torch.inference_mode():
            vectors.append(
                encoder.model((features - features.mean(0))[None].to(encoder.device))[0]
                .cpu()
                .numpy()
            )
    return np.stack(vectors)


def operations(planes: int, wavs: list[Path]) -> int:
    """Of the model on these utterances, counted without computing."""
    with FakeTensorMode(), torch.no_grad():
        model = build_model(MODEL, in_planes=planes).eval()
        with FlopCounterMode(display=False) as counter:
            for wav in wavs:
                frames = FrontendSettings().build().num_frames(soundfile.info(wav).frames)
                model(torch.empty(1, frames, 80))
    return counter.get_total_flops()


def speed(args: argparse.Namespace, root: Path) -> None:
    data = write_corpus(root, args.utterances, 3, 8)
    wavs = sorted((root / "corpus").rglob("*.wav"))
    folder = write_model(root / "model", args.planes)
    encoder = SpeakerEncoder.from_pretrained(folder, args.device)
    half = SpeakerEncoder.from_pretrained(folder, args.device, precision="bfloat16")
    options: dict[str, Callable[[], object]] = {
        "plain loop": lambda: plain_loop(encoder, wavs),
        "tidyvoice extract": lambda: extract(encoder, data, root / "e.npz"),
        "bfloat16": lambda: extract(half, data, root / "half.npz"),
    }
    total = operations(args.planes, wavs)
    seconds = sum(soundfile.info(wav).duration for wav in wavs)
    plain_loop(encoder, wavs[:1])
    print(
        f"{encoder.device}, {torch.get_num_threads()} threads, {len(wavs)} utterances, "
        f"{seconds:.0f} s, {total / 1e9:,.0f} GFLOP"
    )
    for option, (share, took) in shares(options, total, args.runs).items():
        print(f"{option}: {share:.2f} of the product's speed, {seconds / took:.1f} x real time")
    for precision in PRECISIONS:
        speeds = (f"{gpu} {1 / hours(gpu, 'extract', '1', precision):,.0f}" for gpu in GPUS)
        print(f"modelled, x real time in {precision} at 64 planes: {', '.join(speeds)}")
    found = load_embeddings(root / "e.npz")
    wanted = plain_loop(encoder, [root / "corpus" / name for name in found.ids])
    distance = np.linalg.norm(found.vectors - wanted, axis=1) / np.linalg.norm(wanted, axis=1)
    print(f"largest relative distance to the plain loop: {distance.max():.1e}")


def start(
    model: Path, data: Path, out: Path, processes: int = 1, limit: int | None = None
) -> subprocess.Popen:
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += ["-m", "tidyvoice", "extract", "--model", str(model), "--data", str(data)]
    command += ["--out", str(out), "--device", "cpu"]
    return subprocess.Popen(command + (["--limit", str(limit)] if limit else []))


def finish(process: subprocess.Popen) -> float:
    """Wait for the end; the most memory that it had, in MiB."""
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"the extraction ended with status {status}")
    return usage.ru_maxrss / 1024


def many(args: argparse.Namespace, root: Path) -> None:
    data = write_corpus(root, args.many, 0.1, 0.3)
    model = write_model(root / "model", planes=2)
    small = finish(start(model, data, root / "tenth.npz", limit=args.many // 10))
    begin = time.perf_counter()
    large = finish(start(model, data, root / "whole.npz"))
    took = time.perf_counter() - begin
    parts = root / "killed.npz.parts"
    for kill in (1, 2):
        process = start(model, data, root / "killed.npz")
        while not any(parts.glob(f"{kill:04d}-*.npz")) and process.poll() is None:
            time.sleep(0.1)
        if process.poll() is not None:
            sys.exit("the extraction ended before it could be killed: give a larger --many")
        process.send_signal(signal.SIGKILL)
        process.wait()
        print(f"killed with {len(list(parts.glob('*.npz')))} parts kept")
    finish(start(model, data, root / "killed.npz", processes=2))
    same = sha256(root / "whole.npz") == sha256(root / "killed.npz")
    print(
        f"{args.many:,} utterances: {args.many / took:,.0f} a second with the start, at most "
        f"{large:,.0f} MiB ({small:,.0f} MiB for a tenth of them); killed twice and made by two "
        f"processes {'the same bytes' if same else 'OTHER BYTES'}"
    )
    if not same:
        sys.exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--planes", type=int, default=64)
    parser.add_argument("--utterances", type=int, default=32)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--device", default="cpu", help="of the first part")
    parser.add_argument("--many", type=int, default=60_000, help="short utterances; 0: leave out")
    args = parser.parse_args()
    for part, wanted in ((speed, args.runs), (many, args.many)):
        if wanted:
            with tempfile.TemporaryDirectory() as folder:
                part(args, Path(folder))


if __name__ == "__main__":
    main()
