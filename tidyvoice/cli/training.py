"""Commands that need torch: training, averaging, extraction."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tidyvoice.cli.app import AsJson, app
from tidyvoice.errors import TidyVoiceError, one_line_errors

SLOWEST = 7 * 24 * 3600.0  # seconds that a process which is done waits for the others


@app.command()
@one_line_errors()
def train(
    config: Annotated[Path, typer.Argument(help="YAML file of the experiment")],
    settings: Annotated[
        list[str] | None, typer.Argument(help="key=value, dotted keys as in the YAML file")
    ] = None,
    check_settings: Annotated[
        bool, typer.Option("--check", help="only check the settings, then stop")
    ] = False,
    initial: Annotated[
        bool, typer.Option("--initial", help="with --check: does the model in model.init fit?")
    ] = False,
) -> None:
    """Train an experiment; an interrupted one goes on by itself.

    Example: tidyvoice train conf/mini/pretrain.yaml data.batch_size=32
    """
    if check_settings:
        import torch

        from tidyvoice.audio import load_torchaudio
        from tidyvoice.config import load_experiment
        from tidyvoice.training.state import check_settings_of

        chosen = load_experiment(config, tuple(settings or ()))
        check_settings_of(chosen)
        with torch.device("meta"):  # some arguments are only checked when the network is built
            chosen.build_model()
        if set(chosen.data.speeds) != {1.0}:
            load_torchaudio()
        if initial and chosen.model.init:
            from tidyvoice.training.start import check_initial_model

            check_initial_model(chosen)
        return
    if initial:
        raise TidyVoiceError("--initial goes with --check: leave it out, or add --check")
    from tidyvoice.training.trainer import train as run

    typer.echo(f"finished: {run(config, tuple(settings or ()))}")


@app.command()
@one_line_errors()
def average(
    experiment: Annotated[Path, typer.Argument(help="experiment folder")],
    last: Annotated[
        int | None,
        typer.Option(min=1, help="epochs to average; as the training's settings say if left out"),
    ] = None,
    unfinished: Annotated[bool, typer.Option(help="also of a training not at its end")] = False,
    best: Annotated[
        bool, typer.Option(help="the one epoch that was best on the validation list instead")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Average the last checkpoints into EXP/models/avg_model.pt.

    Example: tidyvoice average exp/mini/finetune
    """
    from tidyvoice.training.average import average_checkpoints

    folder, epochs = average_checkpoints(experiment, last, unfinished, best)
    if as_json:
        typer.echo(json.dumps({"model": str(folder), "epochs": epochs}))
    else:
        typer.echo(f"{folder / 'avg_model.pt'}: mean of epochs {', '.join(map(str, epochs))}")


@app.command()
@one_line_errors()
def extract(
    model: Annotated[
        Path, typer.Option(help="model folder, OWNER/NAME of Hugging Face, or exported file")
    ],
    data: Annotated[Path, typer.Option(help="data folder")],
    out: Annotated[Path, typer.Option(help="table of embeddings to write, .npz")],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps")] = "auto",
    precision: Annotated[
        str,
        typer.Option(help="float32, or bfloat16 for the convolutions: faster where it is built in"),
    ] = "float32",
    memory: Annotated[
        int | None,
        typer.Option(min=1, help="MiB for batches; on a CPU 2048, on a GPU half of what is free"),
    ] = None,
    longest: Annotated[
        float, typer.Option(min=1, help="seconds; longer recordings are embedded in pieces")
    ] = 120.0,
    limit: Annotated[int | None, typer.Option(min=1, help="utterances at most, at random")] = None,
    seed: Annotated[int, typer.Option(help="which utterances --limit takes")] = 1,
    strict: Annotated[
        bool, typer.Option("--strict", help="stop at the first file that cannot be read")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Extract the embeddings of a data folder; what was stopped goes on with the same command.

    What is done is kept in OUT.parts. Files that cannot be read are left out and listed in
    OUT.failed.txt. Of a recording over --longest the embedding is the mean of those of its pieces,
    weighted by their lengths; that of a shorter one is exact. Under torchrun several processes
    share the work, each with a GPU of its own or its share of the cores.

    Example: tidyvoice extract --model exp/mini/finetune/models --data data/mini/dev --out dev.npz
    """
    from tidyvoice.data.manifest import TABLES
    from tidyvoice.distributed import join_world
    from tidyvoice.encoder import SpeakerEncoder
    from tidyvoice.export.onnx_encoder import ENDING, OnnxEncoder
    from tidyvoice.extraction.extract import extract as run
    from tidyvoice.files import refuse_inputs
    from tidyvoice.modelhub.folder import local_files

    refuse_inputs([out], [*local_files(model), *(data / name for name in TABLES.values())])
    exported = model.suffix == ENDING
    if exported and (device not in ("auto", "cpu") or precision != "float32"):
        raise TidyVoiceError(
            f"{model} is an exported file, which computes on the CPU as it was exported: leave "
            "--device and --precision out"
        )
    with join_world("cpu" if exported else device, timeout_seconds=SLOWEST) as world:
        if exported:
            encoder = OnnxEncoder(model, threads=1)
        else:
            encoder = SpeakerEncoder.from_pretrained(model, str(world.device), precision=precision)
        made = run(
            encoder, data, out, memory_mib=memory, longest=longest, limit=limit, seed=seed,
            strict=strict, world=world,
        )  # fmt: skip
    if not world.is_first:
        return
    rate = made.hours * 3600 / made.seconds
    if as_json:
        row = asdict(made) | {"failures": str(made.failures) if made.failures else None}
        typer.echo(json.dumps({"embeddings": str(out), **row, "times_real_time": rate}))
        return
    line = f"{out}: {made.utterances:,} embeddings ({made.hours:.2f} h, {rate:,.0f} x real time)"
    if made.failed:
        line += f"; {made.failed:,} utterances failed, listed in {made.failures}"
    typer.echo(line)
