"""Speed of exported files on the CPU, and what 8 bits cost in error rates.

    python benchmarks/export.py --models exp/mini/finetune/models
    python benchmarks/export.py --planes 4 --frames 300 --runs 1

Speed: an untrained SimAM-ResNet34 embeds one utterance at a time, from its waveform, by PyTorch, by
onnxruntime in float32 and in int8, on one thread; medians of runs that take turns, in time of the
processor, which other programs disturb little. int8 needs a processor with 8-bit products (VNNI).

Error rates, of each model given: the dev utterances are embedded by PyTorch and by its int8 file,
whose ranges are from fine-tuning utterances, and scored as ./run.sh --recipe mini does: cosines
less the mean of 500 fine-tuning utterances, each by the same encoder. The interval of the
difference comes from 1,000 resamples of the speakers, the same ones for both.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.evaluation.categories import POOLED
from tidyvoice.evaluation.evaluate import Evaluation, evaluate
from tidyvoice.export.command import export
from tidyvoice.export.onnx_encoder import OnnxEncoder
from tidyvoice.extraction.extract import extract
from tidyvoice.frontends import FrontendSettings
from tidyvoice.models import build_model
from tidyvoice.report.system import load_system
from tidyvoice.scoring.embeddings import load_embeddings
from tidyvoice.scoring.pipeline import score_list

PLAIN, FLOAT32, INT8 = "PyTorch", "onnxruntime float32", "onnxruntime int8"
HARDEST = "different/same"  # targets in two languages, non-targets in one


def measure_speed(args: argparse.Namespace, folder: Path) -> None:
    """Print the milliseconds of an utterance of each length."""
    torch.manual_seed(1)
    model = build_model("SimAM_ResNet34_ASP", in_planes=args.planes, embed_dim=256)
    encoder = SpeakerEncoder(model, FrontendSettings(), "cpu")
    export(encoder, folder / "float32.onnx")
    export(encoder, folder / "int8.onnx", int8=args.data / "finetune", limit=4)
    encoders = {PLAIN: encoder}
    encoders |= {FLOAT32: OnnxEncoder(folder / "float32.onnx")}
    encoders |= {INT8: OnnxEncoder(folder / "int8.onnx")}
    random = np.random.default_rng(1)
    print(f"{args.planes} planes, one thread, ms an utterance:")
    for frames in args.frames:
        samples = random.normal(0, 1000, (1, encoder.frontend.num_samples(frames)))
        samples = samples.astype(np.int16)
        times: dict[str, list[float]] = {name: [] for name in encoders}
        for run in range(args.runs + 1):
            for name, one in encoders.items():
                start = time.process_time()
                one.embed_samples(samples)
                if run:  # the first one is a warm-up
                    times[name].append(time.process_time() - start)
        medians = {name: statistics.median(values) for name, values in times.items()}
        cells = [f"{name} {1000 * median:.0f}" for name, median in medians.items()]
        ratios = [f"{medians[name] / medians[INT8]:.2f} x {name}" for name in (FLOAT32, PLAIN)]
        print(f"{frames} frames: {', '.join(cells)}; int8 is {', '.join(ratios)}", flush=True)


def measure_errors(args: argparse.Namespace, model: Path, folder: Path) -> None:
    """Print the EER of a model and of its int8 file."""
    encoder = SpeakerEncoder.from_pretrained(model, "cpu")
    made = export(encoder, folder / "int8.onnx", int8=args.data / "finetune", limit=args.limit)
    found = {}
    for name, one in {"float32": encoder, "int8": OnnxEncoder(made.path)}.items():
        found[name] = scored(args, one, folder / name)
    vectors = [load_embeddings(folder / name / "dev.npz").vectors for name in found]
    norms = [np.linalg.norm(one, axis=1) for one in vectors]
    cosines = (vectors[0] * vectors[1]).sum(axis=1) / (norms[0] * norms[1])
    print(f"{model}: cosine of int8 and float32 {cosines.mean():.4f}, least {cosines.min():.4f}")
    for category in (POOLED, HARDEST):
        rows = [evaluation.row(category) for evaluation in found.values()]
        difference = found["int8"].minus(found["float32"]).eer[category]
        low, high = (100 * end for end in difference.interval)
        eers, costs = ([getattr(row, key) for row in rows] for key in ("eer", "min_dcf"))
        print(
            f"  {category}: EER {100 * eers[0]:.2f} % in float32, {100 * eers[1]:.2f} % in int8, "
            f"difference {100 * (eers[1] - eers[0]):+.2f} [{low:+.2f}, {high:+.2f}]; "
            f"minDCF {costs[0]:.3f}, {costs[1]:.3f}",
            flush=True,
        )


def scored(
    args: argparse.Namespace, encoder: SpeakerEncoder | OnnxEncoder, folder: Path
) -> Evaluation:
    extract(encoder, args.data / "dev", folder / "dev.npz")
    extract(encoder, args.data / "finetune", folder / "mean.npz", limit=500)
    trials = args.data / "corpus/TidyVocieX_Dev_trialPairs.txt"
    score_list(folder / "dev.npz", trials, folder / "dev.score", folder / "mean.npz")
    maps = {name: [args.data / "dev" / name] for name in ("utt2lang", "utt2spk")}
    system = load_system(folder / "dev.score", **maps)
    return evaluate(system.file, resamples=1000)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--planes", type=int, default=64)
    parser.add_argument("--frames", type=int, nargs="*", default=[300, 500, 800])
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--models", type=Path, nargs="*", default=[], help="trained model folders")
    parser.add_argument("--limit", type=int, default=200, help="utterances of the ranges")
    parser.add_argument("--data", type=Path, default=Path("data/mini"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if args.frames:
            measure_speed(args, Path(folder))
        for model in args.models:
            measure_errors(args, model, Path(folder))


if __name__ == "__main__":
    main()
