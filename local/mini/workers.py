"""Run tasks in processes, a fresh one for each task."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from tidyvoice.errors import TidyVoiceError


@dataclass(frozen=True)
class Task:
    """A call to make in a process of its own; all of it must pickle."""

    name: str
    function: Callable[..., None]
    arguments: tuple[Any, ...]


def _work(task: Task, outcome: Connection) -> None:
    # Ctrl-C in a terminal reaches every process; the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        task.function(*task.arguments)
    except (TidyVoiceError, OSError) as error:
        outcome.send(str(error))
    except Exception as error:  # a defect of ours: it keeps its traceback
        outcome.send(f"{task.name}: {error!r}")
        raise
    else:
        outcome.send(None)


def _answer(outcome: Connection, task: Task) -> str | None:
    try:
        return outcome.recv()
    except EOFError:
        return f"{task.name}: its process died (out of memory?); the same command goes on"


def run(tasks: Sequence[Task], jobs: int, preload: str) -> Iterator[str]:
    """Run ``tasks``, ``jobs`` at a time; yield the name of each as it ends.

    When a task fails, or the caller stops iterating, the running processes are ended at once.

    Args:
        tasks: in the order in which they are begun.
        jobs: processes at a time.
        preload: a module that each process finds imported, so that a fresh one starts in
            milliseconds.

    Raises:
        TidyVoiceError: what a task raised, or that its process died.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([preload])
    running: dict[int, tuple[Task, multiprocessing.process.BaseProcess, Connection]] = {}
    waiting = iter(tasks)
    try:
        while True:
            while len(running) < jobs and (task := next(waiting, None)):
                outcome, sender = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(task, sender))
                process.start()
                sender.close()
                running[process.sentinel] = (task, process, outcome)
            if not running:
                return
            for sentinel in wait(list(running)):
                task, process, outcome = running.pop(sentinel)
                with outcome:
                    message = _answer(outcome, task)
                process.join()
                if message is not None:
                    raise TidyVoiceError(message)
                yield task.name
    finally:
        for _, process, outcome in running.values():
            process.terminate()
            process.join()
            outcome.close()
