"""Server of the page, on 127.0.0.1 only."""

import os
import socket
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.packages import install_command
from tidyvoice.report.drawing import style_sheet

HOST = "127.0.0.1"


def serve(encoder: SpeakerEncoder, port: int, browser: bool) -> None:
    """Serve the page until Ctrl-C, then delete the recordings. Port 0 stands for a free one."""
    try:
        with socket.create_server((HOST, port)) as free:
            port = free.getsockname()[1]
    except OSError as error:
        reason = f"port {port} cannot be used ({error.strerror})"
        raise TidyVoiceError(f"{reason}: give another one with --port") from None
    with tempfile.TemporaryDirectory(prefix="tidyvoice-demo-") as folder:
        # gradio reads both when it is first imported.
        os.environ.update(GRADIO_ANALYTICS_ENABLED="False", GRADIO_TEMP_DIR=folder)
        try:
            from starlette.middleware import Middleware
            from starlette.middleware.trustedhost import TrustedHostMiddleware

            from tidyvoice.demo.page import build
        except ModuleNotFoundError:
            fix = f"In the repository, run: {install_command('demo')}"
            raise TidyVoiceError(f"the demo needs gradio. {fix}") from None
        # Refuse other sites, whose names may resolve to this address.
        guard = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
        page = build(encoder)
        page.launch(
            inbrowser=browser,
            prevent_thread_lock=True,
            quiet=True,
            server_name=HOST,
            server_port=port,
            max_file_size="200mb",
            app_kwargs={"middleware": [guard]},
            # Not as ``css``, from which gradio drops the dark scheme.
            head=f"<style>{style_sheet('colours.css')}</style>",
            css_paths=Path(__file__).with_name("style.css"),
        )
        print(f"the demo is at http://{HOST}:{port}, Ctrl-C ends it", flush=True)
        with suppress(KeyboardInterrupt):
            while True:  # a signal does not wake an endless wait beside the server's thread
                time.sleep(0.2)
        page.close(verbose=False)
