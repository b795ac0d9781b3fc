"""Serves the page on 127.0.0.1, and nowhere else."""

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
LARGEST = "200mb"  # of an uploaded recording
# Seconds that open connections are given at the end; every open page holds one.
PATIENCE = 1


def serve(encoder: SpeakerEncoder, port: int, prior: float, browser: bool) -> None:
    """Serve the page until Ctrl-C. Recordings lie in a temporary folder that ends with it.

    Args:
        port: 0 for any that is free.
        prior: that is chosen at first.
        browser: whether to open the page in one.

    Raises:
        TidyVoiceError: gradio is not installed, or the port is taken.
    """
    with listening(port) as door, tempfile.TemporaryDirectory(prefix="tidyvoice-demo-") as folder:
        # Both are read when gradio is first imported: it shall report to nobody.
        os.environ.update(GRADIO_ANALYTICS_ENABLED="False", GRADIO_TEMP_DIR=folder)
        port = door.getsockname()[1]
        app = application(encoder, port, prior)
        import uvicorn

        settings = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=PATIENCE)
        encoder.embed_waveforms(np.zeros((1, SAMPLE_RATE), np.float32))  # slow the first time
        # It listens already: who comes before the server runs waits a moment.
        print(f"the demo is at http://{HOST}:{port}, Ctrl-C ends it", flush=True)
        if browser:
            webbrowser.open(f"http://{HOST}:{port}")
        # Raised again by uvicorn, after it has closed its connections.
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(settings).run(sockets=[door])


def application(encoder: SpeakerEncoder, port: int, prior: float) -> "FastAPI":
    """The page as a web application.

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
    # Other sites, whose names may be made to point here, are refused.
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
        # Not as ``css``, of which gradio leaves out what is for the dark.
        head=f"<style>{style_sheet('colours.css')}</style>",
        css_paths=STYLE,
    )


def listening(port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        TidyVoiceError: the port is taken.
    """
    door = socket.socket()
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind((HOST, port))
        door.listen()
    except OSError as error:
        door.close()
        raise TidyVoiceError(
            f"port {port} cannot be had ({error.strerror}): give another one with --port"
        ) from None
    return door
