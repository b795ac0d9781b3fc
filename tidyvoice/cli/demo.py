"""The command that serves a page on which two recordings are compared."""

from typing import Annotated

import typer

from tidyvoice.cli.app import app
from tidyvoice.cli.audio import Device, Model
from tidyvoice.errors import one_line_errors


@app.command()
@one_line_errors()
def demo(
    model: Model,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free")] = 7860,
    prior: Annotated[
        float, typer.Option(help="probability of one speaker that the page starts with")
    ] = 0.5,
    browser: Annotated[
        bool, typer.Option("--open/--no-open", help="open the page in the browser")
    ] = True,
    device: Device = "auto",
) -> None:
    """Serve a page, on this machine only, on which two clips are recorded or dropped.

    It shows whether they are of one speaker, how probable that is, and what it rests on. Needs the
    extra `demo`: pip install -e '.[demo]' -c constraints.txt

    Example: tidyvoice demo --model exp/mini/finetune/models
    """
    from tidyvoice.demo.server import serve
    from tidyvoice.encoder import SpeakerEncoder
    from tidyvoice.verifier import log_odds

    log_odds(prior)
    serve(SpeakerEncoder.from_pretrained(model, device), port, prior, browser)
