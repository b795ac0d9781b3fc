"""The root of the command line, and the options that several commands share."""

import functools
import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

import tidyvoice
from tidyvoice.errors import TidyVoiceError, one_line_errors
from tidyvoice.files import UNUSABLE

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)

Data = Annotated[Path, typer.Argument(help="data folder: wav.scp, utt2spk, ...")]
Out = Annotated[Path, typer.Option(help="score file to write")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON instead of text")]
Model = Annotated[
    str,
    typer.Option(
        help="model folder, or Hugging Face repository OWNER/NAME", envvar="TIDYVOICE_MODEL"
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps")]
Languages = Annotated[
    list[Path] | None,
    typer.Option(help="languages of the utterances (repeatable); by default from their ids"),
]
Speakers = Annotated[
    list[Path] | None,
    typer.Option(help="speakers of the utterances (repeatable); by default from their ids"),
]
Resamples = Annotated[
    int, typer.Option(min=0, help="resamples of the speakers for 95 % intervals; 0 for none")
]
Mean = Annotated[Path | None, typer.Option(help="embeddings whose mean is subtracted")]
AllowOverlap = Annotated[
    bool,
    typer.Option(
        "--allow-overlap", help="allow speakers on both sides, and mark the results as in-sample"
    ),
]
BackendFile = Annotated[
    Path | None, typer.Option(help="back end (`tidyvoice fit-backend`), in place of --mean")
]


def _print_version(version: bool) -> None:
    if version:
        typer.echo(f"tidyvoice {tidyvoice.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="print the version and exit"
        ),
    ] = False,
) -> None:
    """Speaker verification across languages: training, extraction, scoring, evaluation."""


def command(
    name: str | None = None, group: typer.Typer = app, **settings: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds a command; a user's mistake in it ends in one line."""

    def add(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(**options: Any) -> None:
            with one_line_errors():
                for key, value in options.items():
                    for each in value if isinstance(value, list) else [value]:
                        _refuse_unusable(f"--{key.replace('_', '-')}", each)
                function(**options)

        group.command(name, **settings)(run)
        return function

    return add


def _refuse_unusable(option: str, value: object) -> None:
    """Refuse NaN, infinity, integers beyond 64 bits, and names that no table or line can hold."""
    if isinstance(value, (str, Path)) and option != "--about" and UNUSABLE.search(str(value)):
        raise TidyVoiceError(f"{option} {str(value)!r}: give a name of one line in UTF-8")
    infinite = isinstance(value, float) and not math.isfinite(value)
    if infinite or (isinstance(value, int) and abs(value) >= 2**63):
        raise TidyVoiceError(f"{option} {value}: give a finite number")


def emit(as_json: bool, content: Any, lines: Iterable[str], warnings: Iterable[str] = ()) -> None:
    """Print JSON, or warnings on stderr and lines of text."""
    for warning in () if as_json else warnings:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(json.dumps(content, default=str) if as_json else "\n".join(lines))


def name_and_path(text: str) -> tuple[str | None, Path]:
    """Split NAME=PATH; a path that exists may contain "="."""
    name, _, path = ("", "", text) if Path(text).exists() else text.partition("=")
    return (name or None, Path(path)) if path else (None, Path(name))
