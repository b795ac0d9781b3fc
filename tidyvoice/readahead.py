"""Reading ahead in threads, so that computing does not wait for the disk."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_END = object()


def usable_cores() -> int:
    """The cores that this process may use: in a container fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def one_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, the next one being made in a thread while one is worked on.

    Close what it returns before ``items``, which it may be in the middle of.
    """
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, _END)
        while (item := coming.result()) is not _END:
            coming = pool.submit(next, items, _END)
            yield item


def read_ahead(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    threads: int,
    ahead: int | None = None,
) -> Iterator[Result]:
    """``map(function, items)`` in order, with up to ``ahead`` results being made or waiting.

    Without ``ahead`` 8, or two for each thread, so that none waits for a slow item.

    Threads rather than processes: reading releases the interpreter's lock, and nothing has to be
    copied, started or cleaned up. An exception of ``function`` is raised where its result is due.
    """
    remaining, ahead = iter(items), ahead or max(8, 2 * threads)
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            waiting.extend(pool.submit(function, item) for item in islice(remaining, ahead))
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(function, item) for item in islice(remaining, 1))
                yield result
        finally:
            pool.shutdown(cancel_futures=True)
