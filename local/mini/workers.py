"""Run tasks in processes, a new one for each task."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from tidyvoice.errors import TidyVoiceError
from tidyvoice.readahead import read_ahead


@dataclass(frozen=True)
class Task:
    """A call to make in a process of its own; all of it must pickle."""

    name: str
    function: Callable[..., None]
    arguments: tuple[Any, ...]


def run(tasks: Sequence[Task], jobs: int, preload: str) -> Iterator[None]:
    """Run ``tasks`` in order, ``jobs`` at a time; yield as each ends.

    Args:
        preload: a module that every process imports before it is forked, so that a new process
            starts in milliseconds.

    Raises:
        TidyVoiceError, OSError: a task raised it, or its process died.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([preload])

    def run_in_process(task: Task) -> None:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(task, sender), daemon=True)
        process.start()
        sender.close()
        try:
            error = receiver.recv()
        except EOFError:
            error = TidyVoiceError(
                f"{task.name}: its process died (is the memory full?); run the same command again"
            )
        process.join()
        if error:
            raise error

    with closing(read_ahead(run_in_process, tasks, jobs, ahead=jobs)) as ended:
        yield from ended


def _work(task: Task, outcome: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent reports an interruption
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        task.function(*task.arguments)
        outcome.send(None)
    except (TidyVoiceError, OSError) as error:
        outcome.send(error)
    except Exception as error:  # a defect of ours: its traceback is printed as well
        outcome.send(TidyVoiceError(f"{task.name}: {error!r}"))
        raise
