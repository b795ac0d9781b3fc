"""The command ``tidyvoice``. Each command imports what it needs, so that ``--help`` is quick."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tidyvoice.errors import TidyVoiceError, one_line_errors

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Speaker verification across languages: training, extraction, scoring.",
)

Data = Annotated[Path, typer.Argument(help="data folder: wav.scp, utt2spk, ...")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON instead of text")]
Languages = Annotated[
    Path | None, typer.Option(help="languages of the utterances; else read off their ids")
]


def main() -> None:
    """Entry point."""
    app()


@app.command()
@one_line_errors()
def check(
    data: Data,
    disjoint: Annotated[
        list[Path] | None, typer.Option(help="data folder that may share no speaker (repeatable)")
    ] = None,
    minimum: Annotated[float, typer.Option(help="shortest utterance in seconds")] = 0.1,
    audio: Annotated[bool, typer.Option(help="look at the header of every file")] = True,
    as_json: AsJson = False,
) -> None:
    """Report every problem of a data folder at once.

    Example: tidyvoice check data/mini/finetune --disjoint data/mini/dev
    """
    from tidyvoice.manifest import check as find_problems

    problems = find_problems(data, disjoint or [], minimum, audio)
    if as_json:
        typer.echo(json.dumps({"data": str(data), "problems": problems}))
    else:
        for problem in problems:
            typer.echo(problem)
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise TidyVoiceError(f"{data} has {count}")
    if not as_json:
        typer.echo(f"{data}: no problem")


@app.command()
@one_line_errors()
def shards(
    data: Data,
    per_shard: Annotated[int, typer.Option(min=1, help="utterances in a shard")] = 1000,
    seed: Annotated[int, typer.Option(help="order of the utterances")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="files read at once")] = 4,
    as_json: AsJson = False,
) -> None:
    """Pack a data folder into indexed shards, DATA/shards.

    Example: tidyvoice shards data/mini/pretrain
    """
    from tidyvoice.data.shards import write_shards

    made = write_shards(data, per_shard, seed, threads)
    if as_json:
        row = {"shards": str(made.folder), "count": made.shards, "utterances": made.utterances}
        typer.echo(json.dumps({**row, "found": made.found}))
    else:
        state = "found finished" if made.found else "written"
        typer.echo(
            f"{made.folder}: {made.utterances:,} utterances in {made.shards:,} shards {state}"
        )


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
) -> None:
    """Train an experiment; an interrupted one goes on by itself.

    Example: tidyvoice train conf/mini/pretrain.yaml data.batch_size=32
    """
    if check_settings:
        from tidyvoice.config import load_experiment

        load_experiment(config, tuple(settings or ()))
        return
    from tidyvoice.training.trainer import train as run

    typer.echo(f"finished: {run(config, tuple(settings or ()))}")


@app.command()
@one_line_errors()
def average(
    experiment: Annotated[Path, typer.Argument(help="experiment folder")],
    last: Annotated[int, typer.Option(min=1, help="epochs whose checkpoints are averaged")] = 1,
    unfinished: Annotated[bool, typer.Option(help="also of a training not at its end")] = False,
    as_json: AsJson = False,
) -> None:
    """Average the last checkpoints into EXP/models/avg_model.pt.

    Example: tidyvoice average exp/mini/finetune --last 3
    """
    from tidyvoice.training.average import average_checkpoints

    folder, epochs = average_checkpoints(experiment, last, unfinished)
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


@app.command()
@one_line_errors()
def score(
    embeddings: Annotated[Path, typer.Option(help="table of embeddings")],
    trials: Annotated[Path, typer.Option(help="trial list")],
    out: Annotated[Path, typer.Option(help="score file to write")],
    mean: Annotated[
        Path | None, typer.Option(help="embeddings whose mean is subtracted first")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Cosine scores of a trial list.

    Example: tidyvoice score --embeddings dev.npz --trials trials --mean train.npz --out dev.score
    """
    from tidyvoice.embeddings import load_embeddings
    from tidyvoice.scoring.cosine import cosine_scores
    from tidyvoice.scoring.trials import read_trials, write_scores

    centre = load_embeddings(mean) if mean else None
    listed = read_trials(trials)
    scores = cosine_scores(load_embeddings(embeddings), listed, centre.mean() if centre else None)
    write_scores(out, listed, scores)
    centring = f"less the mean of {len(centre.ids):,} in {mean}" if centre else "not centred"
    if as_json:
        row = {"scores": str(out), "trials": len(listed), "mean": str(mean) if mean else None}
        typer.echo(json.dumps(row))
    else:
        typer.echo(f"{out}: {len(listed):,} trials, cosine of the embeddings, {centring}")


@app.command()
@one_line_errors()
def metrics(
    scores: Annotated[Path, typer.Argument(help="score file with labels")],
    utt2lang: Languages = None,
    p_target: Annotated[float, typer.Option(help="prior of a target trial")] = 0.01,
    c_miss: Annotated[float, typer.Option(help="cost of a miss")] = 1.0,
    c_fa: Annotated[float, typer.Option(help="cost of a false alarm")] = 1.0,
    as_json: AsJson = False,
) -> None:
    """EER and minDCF, over all trials and in the four language categories.

    Example: tidyvoice metrics exp/mini/finetune/scores/dev.score
    """
    from tidyvoice.scoring.categories import (
        Costs,
        evaluate,
        format_table,
        languages_of,
        read_utt2lang,
        to_json,
    )
    from tidyvoice.scoring.trials import read_scores

    table = read_scores(scores)
    languages = languages_of(table.trials, read_utt2lang(utt2lang) if utt2lang else None)
    rows = evaluate(table, languages, Costs(p_target, c_miss, c_fa))
    typer.echo(to_json(rows) if as_json else format_table(rows))


@app.command()
@one_line_errors()
def report(
    experiment: Annotated[Path, typer.Argument(help="experiment folder with scores")],
    compare: Annotated[
        list[Path] | None, typer.Option(help="experiment to show beside it (repeatable)")
    ] = None,
    scores: Annotated[str, typer.Option(help="which scores: EXP/scores/NAME.score")] = "dev",
    utt2lang: Languages = None,
    out: Annotated[Path | None, typer.Option(help="page to write; EXP/report.html")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the systems' table and write one self-contained page, EXP/report.html.

    Example: tidyvoice report exp/mini/finetune --compare exp/mini/pretrain
    """
    from tidyvoice.report import load_system, write_report
    from tidyvoice.scoring.categories import format_systems

    folders = [experiment, *(compare or [])]
    systems = [load_system(folder, scores, utt2lang=utt2lang) for folder in folders]
    page = out or experiment / "report.html"
    rows = {result.name: result.rows for result in write_report(experiment, systems, page)}
    if as_json:
        table = {name: [asdict(row) for row in found] for name, found in rows.items()}
        typer.echo(json.dumps({"report": str(page), "systems": table}))
    else:
        typer.echo(f"{format_systems(rows)}\n\nreport: {page}")
