"""Commands that need torch: training, averaging, extraction."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tidyvoice.cli.common import AsJson, Device, Model, command, emit
from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import refuse_inputs

SLOWEST = 7 * 24 * 3600.0  # seconds that a finished process waits for the others


@command()
def train(
    config: Annotated[Path, typer.Argument(help="YAML file of the experiment")],
    settings: Annotated[list[str] | None, typer.Argument(help="key=value, dotted keys")] = None,
    check: Annotated[bool, typer.Option("--check", help="only check the settings")] = False,
    initial: Annotated[
        bool, typer.Option("--initial", help="with --check: load model.init too")
    ] = False,
) -> None:
    """Train an experiment; the same command resumes an interrupted one.

    Example: tidyvoice train conf/mini/pretrain.yaml data.batch_size=32
    """
    if check:
        from tidyvoice.config import load_experiment
        from tidyvoice.training.start import check_experiment

        check_experiment(load_experiment(config, tuple(settings or ())), initial)
        typer.echo(f"{config}: the settings are valid")
        return
    if initial:
        raise TidyVoiceError("--initial needs --check: leave it out, or add --check")
    from tidyvoice.training.trainer import train as run

    typer.echo(f"finished: {run(config, tuple(settings or ()))}")


@command()
def benchmark(
    config: Annotated[Path, typer.Argument(help="YAML file of the experiment")],
    settings: Annotated[list[str] | None, typer.Argument(help="key=value, dotted keys")] = None,
    steps: Annotated[int, typer.Option(min=1, help="steps to measure in each way")] = 10,
    as_json: AsJson = False,
) -> None:
    """Measure training steps on this machine: speed, memory, and the time of the whole training.

    It compares memory layouts and, on CUDA, torch.compile and the Triton kernels. It needs the data
    of the experiment and writes nothing.

    Example: tidyvoice benchmark conf/mini/pretrain.yaml device=cpu
    """
    from tidyvoice.training.tuning import benchmark as run

    emit(as_json, *run(config, tuple(settings or ()), steps))


@command()
def average(
    experiment: Annotated[Path, typer.Argument(help="experiment folder")],
    last: Annotated[
        int | None, typer.Option(min=1, help="epochs to average; by default as in the settings")
    ] = None,
    unfinished: Annotated[bool, typer.Option(help="also average an unfinished training")] = False,
    best: Annotated[bool, typer.Option(help="take the epoch with the lowest EER")] = False,
    as_json: AsJson = False,
) -> None:
    """Average the last checkpoints into EXP/models/avg_model.pt.

    Example: tidyvoice average exp/mini/finetune
    """
    from tidyvoice.training.average import average_checkpoints

    folder, epochs = average_checkpoints(experiment, last, unfinished, best)
    line = f"{folder / 'avg_model.pt'}: mean of epochs {', '.join(map(str, epochs))}"
    emit(as_json, {"model": folder, "epochs": epochs}, [line])


@command()
def extract(
    model: Model,
    data: Annotated[Path, typer.Option(help="data folder")],
    out: Annotated[Path, typer.Option(help="table of embeddings to write, .npz")],
    device: Device = "auto",
    precision: Annotated[
        str, typer.Option(help="float32, or bfloat16 for the convolutions: faster on some machines")
    ] = "float32",
    memory: Annotated[
        int | None,
        typer.Option(min=1, show_default="2048 on a CPU, 4096 on a GPU", help="MiB for batches"),
    ] = None,
    longest: Annotated[float, typer.Option(min=1, help="seconds; longer ones in pieces")] = 120.0,
    limit: Annotated[int | None, typer.Option(min=1, help="maximal number of utterances")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="stop at an unreadable file")] = False,
    as_json: AsJson = False,
) -> None:
    """Extract the embeddings of a data folder; the same command resumes an interrupted run.

    Finished parts are kept in OUT.parts. Files that cannot be read are left out and listed in
    OUT.failed.txt. A recording longer than --longest gets the mean over its pieces, weighted by
    their lengths. Under torchrun several processes share the work. --model may also be a file that
    `tidyvoice export` wrote.

    Example: tidyvoice extract --model exp/mini/finetune/models --data data/mini/dev --out dev.npz
    """
    from tidyvoice.data.manifest import own_files
    from tidyvoice.distributed import join_world
    from tidyvoice.encoder import SpeakerEncoder
    from tidyvoice.export.onnx_encoder import ENDING, OnnxEncoder
    from tidyvoice.extraction.extract import extract as run
    from tidyvoice.modelhub.folder import local_files

    refuse_inputs([out, Path(f"{out}.failed.txt")], [*local_files(model), *own_files(data)])
    exported = model.endswith(ENDING)
    if exported and (device not in ("auto", "cpu") or precision != "float32"):
        fix = "leave --device and --precision out"
        raise TidyVoiceError(f"{model} is an exported file, for the CPU in its precision: {fix}")
    with join_world("cpu" if exported else device, timeout_seconds=SLOWEST) as world:
        if exported:
            encoder = OnnxEncoder(model, threads=1)
        else:
            encoder = SpeakerEncoder.from_pretrained(model, str(world.device), precision=precision)
        choices = {"memory_mib": memory, "longest": longest, "limit": limit, "strict": strict}
        result = run(encoder, data, out, world=world, **choices)
    if not world.is_first:
        return
    line = f"{out}: {result.utterances:,} embeddings"
    if result.failed:
        line += f"; {result.failed:,} utterances failed, listed in {result.failures}"
    emit(as_json, {"embeddings": out, **asdict(result)}, [line])
