"""Commands that publish models on the Hugging Face Hub."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from tidyvoice.cli.common import AsJson, Resamples, app, command, emit
from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import refuse_used

hub = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
app.add_typer(hub, name="hub")


@hub.callback()
def _group() -> None:
    """Publish models on the Hugging Face Hub."""


@command(group=hub)
def push(
    model: Annotated[Path, typer.Argument(help="experiment or model folder")],
    repository: Annotated[str, typer.Argument(help="Hugging Face repository, OWNER/NAME")],
    licence: Annotated[
        str,
        typer.Option(
            "--licence",
            "--license",
            help="licence of the weights as the Hub writes it: apache-2.0, ..., or other",
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="folder to write instead of pushing")] = None,
    about: Annotated[str, typer.Option(help="description of the model for its card")] = "",
    scores: Annotated[
        list[str] | None, typer.Option(help="NAME of EXP/scores/NAME.score (repeatable)")
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="create a private repository; refuse a public one")
    ] = False,
    bootstrap: Resamples = 1000,
    as_json: AsJson = False,
) -> None:
    """Publish a model: weights, settings, calibration and a model card made from its experiment.

    The folder is loaded back and compared bit for bit before it is pushed. It contains no path of
    this machine and no name of a speaker. The card reports the score files dev and dev-llr if they
    exist; --scores chooses others. Set HF_TOKEN to a token that may write.

    Example: tidyvoice hub push exp/mini/finetune me/my-model --licence apache-2.0 --out my-model
    """
    from tidyvoice.modelhub.folder import REPOSITORY
    from tidyvoice.publish.facts import gather
    from tidyvoice.publish.folder import write_folder

    if not REPOSITORY.fullmatch(repository):
        raise TidyVoiceError(f"{repository}: not a repository id; write OWNER/NAME")
    if out is None:
        from tidyvoice.modelhub.huggingface import require_token, upload

        require_token()
    else:
        refuse_used(out)
    facts = gather(model, scores or (), bootstrap)
    with tempfile.TemporaryDirectory() as scratch:
        folder = out or Path(scratch) / "model"
        files = write_folder(facts, folder, repository, licence, about)
        row = {"weights": facts.encoder.weights, "files": files}
        row["scores"] = [result.name for result in facts.results]
        row |= {"folder": str(out)} if out else upload(repository, folder, private)
    lines = [f"{k}: {', '.join(v) if isinstance(v, list) else v}" for k, v in row.items()]
    if not facts.results:
        lines.append("the card reports no results: --scores NAME adds score files of an experiment")
    emit(as_json, row, lines)
