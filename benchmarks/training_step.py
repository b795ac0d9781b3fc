"""Count a training step or an extraction on a GPU and model its time; measure it if CUDA is there.

    python benchmarks/training_step.py conf/tidyvoice/pretrain.yaml
    python benchmarks/training_step.py conf/tidyvoice/finetune.yaml precision=bf16
    python benchmarks/training_step.py extract 457 bfloat16
    python benchmarks/training_step.py --write

``extract`` takes hours of speech and a precision. ``--write`` renews the modelled figures in
conf/tidyvoice and docs. Counting needs no GPU: the real step runs on a pretended one
(``pretend_cuda.py``), and its memory is that of tensors, without cuDNN's workspace. The time is

    seconds = bytes / (0.9 x memory bandwidth) + operations / (0.6 x peak of the matrix units)

with the bytes that everything but convolutions and matrix products reads and writes, and the
operations of convolutions and matrix products. Both shares are assumptions: nothing was measured.
"""

import argparse
import re
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache, partial
from itertools import chain, pairwise, repeat
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import torch
from pretend_cuda import DEVICE, Operation, PretendCuda
from torch import Tensor, nn

from tidyvoice.config import Experiment, load_experiment
from tidyvoice.data.batches import RawBatch, source_samples
from tidyvoice.distributed import World
from tidyvoice.encoder.embedder import PRECISIONS
from tidyvoice.frontends import frontend_of
from tidyvoice.headers import SAMPLE_RATE
from tidyvoice.models.pooling import Pooling
from tidyvoice.training.measurement import now
from tidyvoice.training.network import build_network
from tidyvoice.training.step import TrainingStep

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf/tidyvoice"
# Speakers and utterances of data/tidyvoice/NAME, from conf/tidyvoice/expected.yaml: of TidyVoiceX
# without the 100 of 3,666 speakers that recipe.sh holds out, and without their share of the
# utterances; of VoxBlink2 the middle of its range.
DATA = {
    "finetune": (3_566, 255_114),
    "voxceleb2": (5_994, 1_092_009),
    "voxblink2": (111_000, 10_000_000),
}
# GB of memory, and bytes and operations a second in bfloat16 and in float32, which is TF32: from
# NVIDIA's datasheets of H100 SXM and A100 80 GB SXM, and its white papers of the architectures Ada
# and GA102. The operations are without sparsity, and accumulated in float32.
GPUS = {
    "H100": (80, 3.35e12, 989e12, 495e12),
    "A100": (80, 2.04e12, 312e12, 156e12),
    "RTX 4090": (24, 1.008e12, 165e12, 83e12),
    "RTX 3090": (24, 0.936e12, 71e12, 36e12),
}
USABLE = 0.85  # share of the memory that tensors may take, beside cuDNN's workspace
EXTRACTED, SECONDS = 32, 5  # utterances in a batch of an extraction, and their length
FRONT, HEAD, POOLING, TRUNK, OPTIMIZER = PARTS = (
    "front end, augmentation",
    "loss head",
    "pooling, last layer",
    "ReLU, residual sums, casts",
    "gradient norm, optimizer",
)
KINDS = {"simam": "SimAM", "convolution": "convolutions", "native_batch": "batch norm"}
# Columns of the table in docs/training.md.
CHOICES = (
    "precision",
    "data.batch_size",
    "gradient_accumulation",
    "data.num_workers",
    "model.activation_checkpointing",
)
TIME = "# Time, modelled (docs/real-data.md):"
CONFIGS = [path for path in sorted(CONF.glob("*.yaml")) if TIME in path.read_text()]
FILES = [*CONFIGS, ROOT / "docs/real-data.md", ROOT / "docs/training.md"]


class Count(NamedTuple):
    """Operations by part, the places where the host waits, and the most GiB at once."""

    parts: dict[str, list[Operation]]
    waits: list[str]
    gib: float

    def total(self, field: str) -> int:
        return sum(getattr(one, field) for part in self.parts.values() for one in part)

    def seconds(self, gpu: str, bf16: bool) -> float:
        """Model the time on a GPU, see the top."""
        _, bandwidth, *peaks = GPUS[gpu]
        moved = sum(one.bytes for part in self.parts.values() for one in part if not one.flop)
        return moved / (0.9 * bandwidth) + self.total("flop") / (0.6 * peaks[0 if bf16 else 1])


def build(
    settings: Experiment, device: torch.device, values: bool = True
) -> tuple[TrainingStep, RawBatch]:
    """Build a training step and a batch of silence; without values the network has only shapes."""
    size, speeds = settings.data.batch_size, settings.data.speeds
    samples = settings.frontend.outline().num_samples(settings.data.chunk_frames)
    classes = sum(DATA[folder.name][0] for folder in settings.data.train) * len(speeds)
    # Random weights would take longer than counting the step.
    with nullcontext() if values else torch.device("meta"):
        network = build_network(settings, classes, 40, device)
    step = TrainingStep(settings, network, samples, World(0, 1, device))
    network.train()
    step.frontend.train()
    network.begin_average()
    rows, silence = torch.arange(size), partial(torch.zeros, dtype=torch.int16)
    changed = rows[: round(size * settings.data.augment_probability / 2)]  # in each of two ways
    batch = RawBatch(
        samples=silence(size, source_samples(samples, max(speeds))),
        speed_rows=rows.tensor_split(len(speeds)),
        labels=rows % classes,
        languages=rows % 40,
        rows=rows,
        dither_seeds=rows,
        noise=silence(len(changed), samples),
        noise_rows=changed,
        snr=torch.zeros(len(changed)),
        rirs=silence(len(changed), SAMPLE_RATE),
        rir_rows=changed,
    )
    return step, batch.pin_memory() if device.type == "cuda" else batch


@cache
def count(settings: str) -> Count:
    """Count a step of a training that has begun, given its settings as JSON."""
    starts: list[tuple[int, str]] = []

    def begin(part: str) -> Callable[..., None]:
        return lambda *_: starts.append((len(gpu.operations), part))

    def inside(part: str, before: str) -> Callable[..., None]:
        """Begin a part; when its backward pass is over, that of the one before it begins."""

        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            begin(part)()
            if inputs[0].requires_grad:
                inputs[0].register_hook(begin(before))

        return hook

    def backward(loss: Tensor) -> None:
        torch.autograd.backward(loss)
        begin(OPTIMIZER)()

    experiment = Experiment.model_validate_json(settings)
    with PretendCuda(values=False) as gpu, mock.patch.object(Tensor, "backward", backward):
        step, batch = build(experiment, DEVICE, values=False)
        for parameter in step.network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        step.optimizer.step()
        step.augment.register_forward_pre_hook(begin(FRONT))
        step.network.model.register_forward_pre_hook(begin(TRUNK))
        for module in step.network.model.modules():
            if isinstance(module, Pooling):
                module.register_forward_pre_hook(inside(POOLING, TRUNK))
        step.network.objective.register_forward_pre_hook(inside(HEAD, POOLING))
        gpu.clear()
        step(step.network, repeat(batch), 1e-3)
    parts: dict[str, list[Operation]] = {part: [] for part in (*KINDS.values(), *PARTS)}
    for (first, part), (end, _) in pairwise([(0, FRONT), *starts, (len(gpu.operations), "")]):
        for one in gpu.operations[first:end]:
            kinds = [kind for name, kind in KINDS.items() if name in one.name and part == TRUNK]
            parts[kinds[0] if kinds else part].append(one)
    return Count(parts, gpu.waits, gpu.peak / 2**30)


@cache
def count_extraction(precision: str) -> Count:
    """Count the embedding of a batch."""
    settings = load_experiment(CONF / "finetune.yaml")
    with PretendCuda(values=False) as gpu, torch.no_grad():
        with torch.device("meta"):
            model = settings.build_model()
        network = model.for_inference(PRECISIONS[precision]).to(DEVICE)
        frontend = frontend_of(model, settings.frontend).to(DEVICE).eval()
        waveforms = torch.zeros(EXTRACTED, SECONDS * SAMPLE_RATE).pin_memory()
        gpu.clear()
        network(frontend(waveforms.to(DEVICE, non_blocking=True)))
    return Count({"all": gpu.operations}, gpu.waits, gpu.peak / 2**30)


def fit_batch(gpu: str, settings: Experiment) -> tuple[int, int, Count]:
    """Return batch size and accumulated batches that fit a GPU's memory, and the count."""
    whole, accumulated = settings.data.batch_size, settings.gradient_accumulation
    for parts in range(1, whole + 1):
        if whole % parts == 0:
            data = settings.data.model_copy(update={"batch_size": whole // parts})
            changes = {"data": data, "gradient_accumulation": accumulated * parts}
            counted = count(settings.model_copy(update=changes).model_dump_json())
            if counted.gib <= USABLE * GPUS[gpu][0]:
                return whole // parts, accumulated * parts, counted
    raise SystemExit(f"no chunk fits a {gpu}: reduce data.chunk_frames")


def hours(gpu: str, work: str | Path, *options: str) -> float:
    """Model the hours of a whole training or extraction; the arguments are the program's."""
    if work == "extract":
        seconds = count_extraction(options[1]).seconds(gpu, options[1] == "bfloat16")
        return seconds * float(options[0]) / (EXTRACTED * SECONDS)
    settings = load_experiment(ROOT / work, options)
    size, accumulated, counted = fit_batch(gpu, settings)
    utterances = sum(DATA[folder.name][1] for folder in settings.data.train)
    steps = settings.epochs * (settings.epoch_iterations or utterances // (size * accumulated))
    return steps * counted.seconds(gpu, settings.precision == "bf16") / 3600


def number(value: float) -> str:
    return f"{float(f'{value:.2g}'):,g}"


def renew(path: Path) -> str:
    """Return the text of one of ``FILES`` with its modelled figures renewed."""

    def times(row: re.Match[str]) -> str:
        values = [hours(gpu, *row[2].split()) for gpu in GPUS]
        return f"{row[1]} {' | '.join(map(number, [*values, 2 * values[0]]))} |"

    def peak(row: re.Match[str]) -> str:
        options = map("{}={}".format, CHOICES, row[3].split(" | "))
        settings = load_experiment(ROOT / row[2], options)
        return f"{row[1]} {count(settings.model_dump_json()).gib:.1f} GiB |"

    text = path.read_text()
    if path in CONFIGS:
        times_by_gpu = ", ".join(f"{gpu} {number(hours(gpu, path))} h" for gpu in GPUS)
        return re.sub(f"{re.escape(TIME)}.*", f"{TIME} {times_by_gpu}.", text)
    if path.name == "real-data.md":
        return re.sub(r"^(\| [^|]* \| `((?:conf/|extract )[^`]*)` \|).*", times, text, flags=re.M)
    return re.sub(r"^(\| .*GB \| `(conf/\S*)` \| (.*) \|) [^|]* \|$", peak, text, flags=re.M)


def measure(settings: Experiment, steps: int = 20) -> str:
    """Measure steps of a training on the GPU, if there is one."""
    if not torch.cuda.is_available():
        return "no GPU here: nothing measured"
    step, batch = build(settings, DEVICE)
    for done in range(-5, steps):  # the first ones choose cuDNN's algorithms
        if not done:
            start = now(DEVICE)
        step(step.network, repeat(batch), 1e-3)
    seconds = (now(DEVICE) - start) / steps
    peak = torch.cuda.max_memory_allocated() / 2**30
    name = torch.cuda.get_device_name()
    return f"measured on {name}: {1e3 * seconds:.1f} ms a step, peak {peak:.1f} GiB"


def show(config: str, overrides: list[str]) -> None:
    """Print the counted step of a training, the modelled times and the measured one."""
    settings = load_experiment(config, overrides)
    counted = count(settings.model_dump_json())
    print(f"{'counted in a step':27}{'GB':>8}{'TFLOP':>8}{'launches':>10}")
    for part, operations in {**counted.parts, "all": list(chain(*counted.parts.values()))}.items():
        moved, flop, launches = map(sum, zip(*(one[1:] for one in operations), strict=True))
        print(f"{part:27}{moved / 1e9:8.1f}{flop / 1e12:8.2f}{launches:10,}")
    print(f"peak {counted.gib:.1f} GiB; the host waits {len(counted.waits)} times")
    print(f"{'modelled':10}{'chunks':>10}{'ms a step':>12}{'chunks/s':>11}{'hours':>9}")
    for gpu in GPUS:
        size, accumulated, fit = fit_batch(gpu, settings)
        seconds = fit.seconds(gpu, settings.precision == "bf16")
        rate = f"{1e3 * seconds:12.1f}{size * accumulated / seconds:11,.0f}"
        total = number(hours(gpu, Path(config).absolute(), *overrides))
        print(f"{gpu:10}{f'{accumulated} x {size}':>10}{rate}{total:>9}")
    print(measure(settings))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", nargs="?", metavar="CONFIG | extract")
    parser.add_argument("options", nargs="*", metavar="KEY=VALUE | HOURS PRECISION")
    parser.add_argument("--write", action="store_true", help="renew conf/tidyvoice and docs")
    args = parser.parse_args()
    if args.work == "extract":
        times = (f"{gpu} {number(60 * hours(gpu, 'extract', *args.options))}" for gpu in GPUS)
        print(f"minutes, modelled: {', '.join(times)}")
    elif args.work:
        show(args.work, args.options)
    for path in FILES if args.write else ():
        path.write_text(renew(path))


if __name__ == "__main__":
    main()
