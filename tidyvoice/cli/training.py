"""Commands that need torch: training, averaging, extraction."""

import json
from pathlib import Path
from typing import Annotated

import typer

from tidyvoice.cli.app import AsJson, app
from tidyvoice.errors import TidyVoiceError, one_line_errors


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
    average: Annotated[
        int | None,
        typer.Option(min=1, help="with --check: will so many epochs be there to average?"),
    ] = None,
) -> None:
    """Train an experiment; an interrupted one goes on by itself.

    Example: tidyvoice train conf/mini/pretrain.yaml data.batch_size=32
    """
    if check_settings:
        from tidyvoice.config import load_experiment
        from tidyvoice.training.average import check_last

        chosen = load_experiment(config, tuple(settings or ()))
        if average is not None:
            check_last(chosen, average, config)
        return
    if average is not None:
        raise TidyVoiceError("--average goes with --check; then it is `tidyvoice average`")
    from tidyvoice.training.trainer import train as run

    typer.echo(f"finished: {run(config, tuple(settings or ()))}")


@app.command()
@one_line_errors()
def average(
    experiment: Annotated[Path, typer.Argument(help="experiment folder")],
    last: Annotated[int, typer.Option(min=1, help="epochs whose checkpoints are averaged")] = 1,
    unfinished: Annotated[bool, typer.Option(help="also of a training not at its end")] = False,
    best: Annotated[
        bool, typer.Option(help="the one epoch that was best on the validation list instead")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Average the last checkpoints into EXP/models/avg_model.pt.

    Example: tidyvoice average exp/mini/finetune --last 3
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
    model: Annotated[Path, typer.Option(help="model folder")],
    data: Annotated[Path, typer.Option(help="data folder")],
    out: Annotated[Path, typer.Option(help="table of embeddings to write, .npz")],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps")] = "auto",
    batch_frames: Annotated[int, typer.Option(min=1, help="frames of a batch")] = 8000,
    limit: Annotated[int | None, typer.Option(min=1, help="utterances at most, at random")] = None,
    seed: Annotated[int, typer.Option(help="which utterances --limit takes")] = 1,
    as_json: AsJson = False,
) -> None:
    """Extract the embeddings of a data folder.

    Example: tidyvoice extract --model exp/mini/finetune/models --data data/mini/dev --out dev.npz
    """
    from tidyvoice.encoder import SpeakerEncoder
    from tidyvoice.extract import extract as run

    count = run(SpeakerEncoder.from_pretrained(model, device), data, out, batch_frames, limit, seed)
    if as_json:
        typer.echo(json.dumps({"embeddings": str(out), "utterances": count}))
    else:
        typer.echo(f"{out}: {count:,} embeddings")
