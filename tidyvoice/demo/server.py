"""Server of the page, on 127.0.0.1 only."""

import contextlib
import os
import socket
import tempfile
import webbrowser
from typing import TYPE_CHECKING

import numpy as np

from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.headers import SAMPLE_RATE
from tidyvoice.packages import install_command

if TYPE_CHECKING:
    from fastapi import FastAPI

HOST = "127.0.0.1"
LARGEST = "200mb"  # size limit of an uploaded recording
PATIENCE = 1  # seconds for open connections at the end; every open page holds one


def serve(encoder: SpeakerEncoder, port: int, prior: float, browser: bool) -> None:
    """Serve the page until Ctrl-C, then delete the recordings.

    Args:
        port: 0 for a free one.
        prior: prior selected at first.
        browser: open the page in the browser.

    Raises:
        TidyVoiceError: gradio is not installed, or the port is in use.
    """
    with (
        listening(port) as listener,
        tempfile.TemporaryDirectory(prefix="tidyvoice-demo-") as folder,
    ):
        # gradio reads both when it is first imported.
        os.environ.update(GRADIO_ANALYTICS_ENABLED="False", GRADIO_TEMP_DIR=folder)
        port = listener.getsockname()[1]
        app = application(encoder, port, prior)
        import uvicorn

        settings = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=PATIENCE)
        encoder.embed_waveforms(np.zeros((1, SAMPLE_RATE), np.float32))  # the first call is slow
        # The socket listens already: a page opened before the server runs waits a moment.
        print(f"the demo is at http://{HOST}:{port}, Ctrl-C ends it", flush=True)
        if browser:
            webbrowser.open(f"http://{HOST}:{port}")
        # uvicorn raises it again after closing its connections.
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(settings).run(sockets=[listener])


def application(encoder: SpeakerEncoder, port: int, prior: float) -> "FastAPI":
    """Build the page as a web application.

    Raises:
        TidyVoiceError: gradio is not installed.
    """
    try:
        import gradio
    except ModuleNotFoundError as error:
        raise TidyVoiceError(
            f"the demo needs {error.name}. In the repository, run: {install_command('demo')}"
        ) from None
    # gradio brings these.
    from fastapi import FastAPI
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from tidyvoice.demo.page import STYLE, build, theme
    from tidyvoice.report.page import style_sheet

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    # Refuse other sites, whose names may resolve to this address.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    return gradio.mount_gradio_app(
        app,
        build(encoder, prior),
        path="/",
        server_name=HOST,
        server_port=port,
        footer_links=[],
        run_history=False,
        max_file_size=LARGEST,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        pwa=False,
        theme=theme(),
        # Not as ``css``, from which gradio drops the dark scheme.
        head=f"<style>{style_sheet('colours.css')}</style>",
        css_paths=STYLE,
    )


def listening(port: int) -> socket.socket:
    """Open a listening socket.

    Raises:
        TidyVoiceError: the port is in use.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise TidyVoiceError(
            f"port {port} cannot be used ({error.strerror}): give another one with --port"
        ) from None
    return listener
