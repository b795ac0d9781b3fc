"""Commands that publish models on the Hugging Face Hub."""

import json
import tempfile
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
    source: Annotated[Path, typer.Argument(help="experiment or model folder")],
    repository: Annotated[str, typer.Argument(help="Hugging Face repository, OWNER/NAME")],
    licence: Annotated[
        str,
        typer.Option(
            "--licence",
            "--license",
            help="of the weights, as the Hub has it: apache-2.0, other",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="only write this folder; nothing leaves the machine")
    ] = None,
    about: Annotated[str, typer.Option(help="what the model is, for the head of its card")] = "",
    scores: Annotated[
        list[str] | None,
        typer.Option(help="EXP/scores/NAME.score to report (repeatable); dev and dev-llr"),
    ] = None,
    with_speakers: Annotated[
        bool, typer.Option("--with-speakers", help="publish the names of the training's speakers")
    ] = False,
    private: Annotated[
        bool, typer.Option("--private", help="make the repository private, or demand that it is")
    ] = False,
    message: Annotated[str, typer.Option(help="of the commit")] = "",
    utt2lang: Languages = None,
    utt2spk: Speakers = None,
    bootstrap: Annotated[
        int, typer.Option(min=0, help="resamples of the speakers for 95 % intervals; 0 for none")
    ] = 1000,
    as_json: AsJson = False,
) -> None:
    """Publish a model: weights, settings, calibration, and a card made from its experiment.

    The folder is loaded back and compared bit for bit before it is pushed. No path of this machine
    is written. huggingface_hub does the upload: HF_TOKEN is a token that may write.

    Example: tidyvoice hub push exp/mini/finetune me/my-model --licence apache-2.0 --out my-model
    """
    from tidyvoice.evaluation.bootstrap import enough
    from tidyvoice.publish import Terms, gather, write_folder

    enough(bootstrap)
    terms = Terms(repository, licence, about, with_speakers)
    if out is not None and (private or message):
        option = "--private" if private else "--message"
        raise TidyVoiceError(f"{option}: nothing is pushed with --out; leave it out")
    if out is None:
        from tidyvoice.modelhub.huggingface import refuse_anonymous

        refuse_anonymous()
    facts = gather(source, scores or (), utt2lang or (), utt2spk or (), bootstrap)
    row = {"repository": repository, "weights": facts.encoder.weights}
    row["scores"] = [found.name for found in facts.evaluations]
    if out is not None:
        row |= {"folder": str(out), "files": write_folder(facts, terms, out)}
        text = f"{out}: {', '.join(row['files'])}; loaded back, the same embeddings"
    else:
        from tidyvoice.modelhub.huggingface import upload

        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "model"
            row["files"] = write_folder(facts, terms, folder)
            pushed = upload(repository, folder, private, message)
        row |= {"url": pushed.url, "commit": pushed.commit, "private": pushed.private}
        seen = "private" if pushed.private else "public"
        text = f"{pushed.url} ({seen}): {', '.join(row['files'])}; commit {pushed.commit}"
    if as_json:
        typer.echo(json.dumps(row))
        return
    typer.echo(text)
    if not facts.evaluations:
        typer.echo("the card reports no result: --scores NAME takes score files of an experiment")
