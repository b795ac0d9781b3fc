"""Import the large packages, then fork for each command that a client asks for."""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import sys
import threading
import traceback
import weakref

# Not huggingface_hub, which reads its environment when it is imported, and no module that is run
# with -m, of which Python would warn.
PACKAGES = (
    "matplotlib.figure",
    "polars",
    "pydantic.main",
    "safetensors.torch",
    "scipy.fft",
    "scipy.optimize",
    "scipy.sparse",
    "scipy.special",
    "sklearn.linear_model",
    "soundfile",
    "torch._dynamo",
    "torch.distributed.launcher.api",
    "torch.utils.tensorboard",
    "torchaudio",
    "typer",
    "yaml",
    "tidyvoice.cli",
    "tidyvoice.doctor",
    "tidyvoice.extraction.extract",
    "tidyvoice.report",
    "tidyvoice.runs",
    "tidyvoice.scoring.pipeline",
    "tidyvoice.verification.fit",
    "tidyvoice.submission",
    "tidyvoice.training.average",
    "tidyvoice.training.trainer",
    "tidyvoice.verification.verifier",
)


def serve(path: str) -> list[str]:
    """Wait for requests until stdin ends; return in each forked process, with its arguments."""
    running = {}  # connections by process id
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        while True:
            waited = [0, listener, *running.values()]
            readable, _, _ = select.select(waited, [], [], 0.005 if running else None)
            for pid, connection in list(running.items()):
                if connection in readable:  # its client is gone
                    os.killpg(pid, signal.SIGKILL)
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    code = os.waitstatus_to_exitcode(status)
                    # A client that was killed does not wait for the status.
                    with running.pop(pid) as client, contextlib.suppress(BrokenPipeError):
                        client.sendall(b"%d" % (code if code >= 0 else 128 - code))
            if 0 in readable:
                for pid in running:
                    os.killpg(pid, signal.SIGKILL)
                shutil.rmtree(os.path.dirname(path))
                sys.exit()
            if listener in readable:
                connection, _ = listener.accept()
                streams, request = receive(connection)
                pid = os.fork()
                if pid == 0:
                    os.setpgid(0, 0)
                    for other in (listener, connection, *running.values()):
                        other.close()
                    for number, stream in enumerate(streams):
                        os.dup2(stream, number)
                        os.close(stream)
                    return prepare(*request)
                # Both do it: the child may be killed before it has.
                os.setpgid(pid, pid)
                for stream in streams:
                    os.close(stream)
                running[pid] = connection


def receive(connection: socket.socket) -> tuple[list[int], list]:
    """The streams and the content of a request."""
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    with connection.makefile("rb") as file:
        return streams, json.loads(file.readline())


def prepare(arguments: list[str], folder: str, environment: dict[str, str]) -> list[str]:
    """Make this process what a new Python would be there."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(":"))
    return arguments


def run(first: str, *arguments: str) -> None:
    """Run ``-m MODULE ARGUMENT...``, ``-c CODE ARGUMENT...`` or ``FILE ARGUMENT...`` as Python."""
    if first in ("-m", "-c"):
        sys.path.insert(0, os.getcwd())
        sys.argv = list(arguments) if first == "-m" else [first, *arguments[1:]]
    else:
        sys.path.insert(0, os.path.dirname(os.path.abspath(first)))
        sys.argv = [first, *arguments]
    if first == "-m":
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        exec(arguments[0], {"__name__": "__main__"})
    else:
        runpy.run_path(first, run_name="__main__")


def leave(error: BaseException | None) -> None:
    """End as Python does, but for the memory, which the system takes back faster than Python."""
    status = 0
    if isinstance(error, SystemExit):
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        traceback.print_exception(error)
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main() -> None:
    for package in PACKAGES:
        importlib.import_module(package)
    del sys.path[:2]  # the folder of this file, and PYTHONPATH
    # Every process would otherwise end with the clean-up of what torch registered in this one.
    for finalizer in weakref.finalize._registry:
        finalizer.atexit = False
    # Else every process would copy the memory of all objects to look for garbage.
    gc.collect()
    gc.freeze()
    command = serve(sys.argv[1])
    try:
        run(*command)
    except BaseException as error:
        leave(error)
    leave(None)


if __name__ == "__main__":
    main()
