"""The command that serves the demo page."""

from typing import Annotated

import typer

from tidyvoice.cli.app import Device, Model, app
from tidyvoice.errors import one_line_errors


@app.command()
@one_line_errors()
def demo(
    model: Model,
    port: Annotated[int, typer.Option(min=0, max=65535, help="port; 0 for a free one")] = 7860,
    prior: Annotated[
        float, typer.Option(help="probability of one speaker that is selected at first")
    ] = 0.5,
    browser: Annotated[
        bool, typer.Option("--open/--no-open", help="open the page in the browser")
    ] = True,
    device: Device = "auto",
) -> None:
    """Serve a page on this machine that compares two recordings.

    It needs the extra `demo`: pip install -e '.[demo]' -c constraints.txt

    Example: tidyvoice demo --model exp/mini/finetune/models
    """
    from tidyvoice.demo.server import serve
    from tidyvoice.encoder import SpeakerEncoder
    from tidyvoice.verification.verifier import log_odds

    log_odds(prior)
    serve(SpeakerEncoder.from_pretrained(model, device), port, prior, browser)
