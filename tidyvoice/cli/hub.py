"""Commands that publish models on the Hugging Face Hub."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tidyvoice.cli.app import AsJson, Languages, Speakers, app
from tidyvoice.errors import TidyVoiceError, one_line_errors

hub = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Publish models on the Hugging Face Hub.",
)
app.add_typer(hub, name="hub")


@hub.callback()
def _group() -> None:
    """Publish models on the Hugging Face Hub."""


@hub.command()
@one_line_errors()
def push(
    model: Annotated[Path, typer.Argument(help="experiment or model folder")],
    repository: Annotated[str, typer.Argument(help="Hugging Face repository, OWNER/NAME")],
    licence: Annotated[
        str,
        typer.Option(
            "--licence",
            "--license",
            help="licence of the weights as the Hub writes it, such as apache-2.0, or other",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="folder to write; nothing is pushed then")
    ] = None,
    about: Annotated[str, typer.Option(help="description of the model for its card")] = "",
    scores: Annotated[
        list[str] | None,
        typer.Option(help="score file EXP/scores/NAME.score to report (repeatable)"),
    ] = None,
    private: Annotated[
        bool,
        typer.Option("--private", help="create a private repository; refuse a public one"),
    ] = False,
    utt2lang: Languages = None,
    utt2spk: Speakers = None,
    bootstrap: Annotated[
        int, typer.Option(min=0, help="resamples of the speakers for 95 % intervals; 0 for none")
    ] = 1000,
    as_json: AsJson = False,
) -> None:
    """Publish a model: weights, settings, calibration and a model card made from its experiment.

    The folder is loaded back and compared bit for bit before it is pushed. It contains no path of
    this machine and no name of a speaker. The card reports the score files dev and dev-llr if they
    exist; --scores chooses others. Set HF_TOKEN to a token that may write.

    Example: tidyvoice hub push exp/mini/finetune me/my-model --licence apache-2.0 --out my-model
    """
    from tidyvoice.publish import Terms, gather, write_folder

    terms = Terms(repository, licence, about)
    if out is None:
        from tidyvoice.modelhub.huggingface import require_token, upload

        require_token()
    elif private:
        raise TidyVoiceError("--private: nothing is pushed with --out; leave one of them out")
    facts = gather(model, scores or (), utt2lang or (), utt2spk or (), bootstrap)
    with tempfile.TemporaryDirectory() as scratch:
        folder = out or Path(scratch) / "model"
        files = write_folder(facts, terms, folder)
        row = {"repository": repository, "weights": facts.encoder.weights, "files": files}
        row["scores"] = [result.name for result in facts.results]
        if out is not None:
            row["folder"] = str(out)
            text = f"{out}: {', '.join(files)}; loaded back and compared"
        else:
            pushed = upload(repository, folder, private)
            row |= asdict(pushed)
            access = "private" if pushed.private else "public"
            text = f"{pushed.url} ({access}): {', '.join(files)}; commit {pushed.commit}"
    if as_json:
        typer.echo(json.dumps(row))
        return
    typer.echo(text)
    if not facts.results:
        typer.echo("the card reports no results: --scores NAME adds score files of an experiment")
