"""Run tasks in processes, a fresh one for each task."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from tidyvoice.errors import TidyVoiceError

INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM)


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
        outcome.send(error)
    except Exception as error:  # a defect of ours: it keeps its traceback
        outcome.send(TidyVoiceError(f"{task.name}: {error!r}"))
        raise
    else:
        outcome.send(None)


def _answer(outcome: Connection, task: Task) -> TidyVoiceError | OSError | None:
    try:
        return outcome.recv()
    except EOFError:
        return TidyVoiceError(
            f"{task.name}: its process died (out of memory?); run the same command again"
        )


@contextmanager
def _interruptions_held_back() -> Iterator[None]:
    """Raise at the end of the block what would have interrupted it.

    By handlers rather than a signal mask, which another thread of the process would not have.
    """
    arrived: list[int] = []
    handlers = [signal.signal(n, lambda number, _: arrived.append(number)) for n in INTERRUPTIONS]
    try:
        yield
    finally:
        for number, handler in zip(INTERRUPTIONS, handlers, strict=True):
            signal.signal(number, handler)
    if arrived:
        raise KeyboardInterrupt


def run(tasks: Sequence[Task], jobs: int, preload: str) -> Iterator[str]:
    """Run ``tasks``, ``jobs`` at a time; yield the name of each as it ends.

    When a task fails, or the caller stops iterating, the running processes are ended at once.

    Args:
        tasks: in the order in which they are begun.
        jobs: processes at a time.
        preload: a module that each process finds imported, so that a fresh one starts in
            milliseconds.

    Raises:
        TidyVoiceError, OSError: what a task raised, or that its process died.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([preload])
    running: dict[int, tuple[Task, multiprocessing.process.BaseProcess, Connection]] = {}
    waiting = iter(tasks)
    try:
        while True:
            while len(running) < jobs and (task := next(waiting, None)):
                # A process that was begun but not yet noted would outlive an interruption.
                with _interruptions_held_back():
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
                    error = _answer(outcome, task)
                process.join()
                if error is not None:
                    raise error
                yield task.name
    finally:
        for _, process, outcome in running.values():
            process.terminate()
            process.join()
            outcome.close()
