"""Commands that start without importing torch again.

Every ``tidyvoice`` spends two seconds on imports, and a recipe starts thirty of them. A server
imports the large packages once and forks for each command. The programs of ``programs`` hand their
arguments, directory, environment and streams to the server, and end with the command's status.

A forked command does not receive signals that are sent to the process group of its caller, and is
killed when that is gone. Tests of Ctrl-C start Python itself.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
Completed = subprocess.CompletedProcess[str]
SERVERS = []
SHARED = "TIDYVOICE_TEST_PROGRAMS"


def programs() -> Path:
    """Start a server, once for all test processes; return the folder of its programs.

    The folder belongs at the front of the PATH. The programs wait until the server is ready.
    """
    if SHARED in os.environ:
        return Path(os.environ[SHARED])
    # The path of a socket has at most 100 letters, those of pytest's folders may have more.
    folder = Path(tempfile.mkdtemp(prefix="tidyvoice-"))
    client = (HERE / "client.py").read_text()
    for name in ("tidyvoice", "python", "torchrun"):
        # -I and -S: the site packages take longer to find than the client to run.
        (folder / name).write_text(f"#!{sys.executable} -IS\n{client}")
        (folder / name).chmod(0o755)
    # The server ends when its input does, which is when this process does.
    server = subprocess.Popen(
        [sys.executable, str(HERE / "server.py"), str(folder / "socket")],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for pytest
    )
    SERVERS.append(server)
    os.environ[SHARED] = str(folder)
    return folder


def environment(**changes: str) -> dict[str, str]:
    """The environment of a command that finds the programs, then those of this interpreter."""
    path = f"{programs()}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    own = {"PATH": path, "OMP_NUM_THREADS": "1", "PYTHON_EXEC": f"{programs()}/python"}
    return {**os.environ, **own, **changes}


def run(*command: object, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> Completed:
    """Run a program in a folder, with an environment in the place of ``environment``."""
    options = {"capture_output": True, "text": True, "timeout": 600, "cwd": cwd}
    return subprocess.run([*map(str, command)], env=env or environment(), **options)


def start(*command: object, cwd: Path = ROOT, **options: object) -> subprocess.Popen[str]:
    """Start a program in a session of its own, whose output is read."""
    own = {"stdout": subprocess.PIPE, "text": True, "start_new_session": True, "env": environment()}
    return subprocess.Popen([*map(str, command)], cwd=cwd, **{**own, **options})


def failing(result: Completed) -> str:
    """Return the one line in which a command ends."""
    assert result.returncode == 1, result.stdout + result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def shell(command: str, folder: Path, env: Mapping[str, str] | None = None) -> Completed:
    """Run a line of bash in a folder."""
    return run("bash", "-c", command, cwd=folder, env=env)


def succeed(command: str, folder: Path, env: Mapping[str, str] | None = None) -> str:
    """Return what a line of bash prints; it must succeed."""
    result = shell(command, folder, env)
    assert result.returncode == 0, f"{command}\n{result.stdout[-6000:]}{result.stderr[-6000:]}"
    return result.stdout
