"""The command line's root, and the options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Speaker verification across languages: training, extraction, scoring, evaluation.",
)

Data = Annotated[Path, typer.Argument(help="data folder: wav.scp, utt2spk, ...")]
Out = Annotated[Path, typer.Option(help="score file to write")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON instead of text")]
Languages = Annotated[
    list[Path] | None,
    typer.Option(help="languages of the utterances (repeatable); else read off their ids"),
]
Speakers = Annotated[
    list[Path] | None,
    typer.Option(help="speakers of the utterances (repeatable); else read off their ids"),
]
Mean = Annotated[Path | None, typer.Option(help="embeddings whose mean is subtracted first")]
AllowOverlap = Annotated[
    bool,
    typer.Option("--allow-overlap", help="allow speakers on both sides, and mark the results"),
]
CohortTable = Annotated[Path | None, typer.Option(help="embeddings of the cohort's utterances")]
CohortSpeakers = Annotated[Path | None, typer.Option(help="their speakers")]
CohortLanguages = Annotated[
    Path | None, typer.Option(help="their languages; else read off their ids")
]
TopN = Annotated[int, typer.Option(min=2, help="highest cohort scores that count")]
Blind = Annotated[
    bool, typer.Option("--blind", help="guess the languages from those of the cohort")
]


def name_and_path(text: str) -> tuple[str | None, Path]:
    """A path, or NAME=PATH; a path that exists may hold "=" itself."""
    name, _, path = ("", "", text) if Path(text).exists() else text.partition("=")
    return (name or None, Path(path)) if path else (None, Path(name))
