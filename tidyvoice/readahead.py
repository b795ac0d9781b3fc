"""Work in threads: reading ahead, so that computing does not wait for the disk, and in blocks."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice, repeat, takewhile
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_END = object()


def usable_cores() -> int:
    """Return the cores that this process may use: in a container fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def one_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the same items; a thread computes the next one. Close the result before ``items``."""
    with closing(read_ahead(lambda items: next(items, _END), repeat(items), 1, 1)) as results:
        yield from takewhile(lambda item: item is not _END, results)


def read_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, ahead: int = 0
) -> Iterator[Result]:
    """Yield ``map(function, items)`` in order, computed in threads.

    An exception of ``function`` is raised where its result is due. ``ahead`` results are computed
    or waiting: by default 8, or two for each thread, so that none waits for a slow item.
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


def in_blocks(work: Callable[[slice], None], total: int, size: int) -> None:
    """Call ``work`` on slices of ``size`` up to ``total``, in threads: numpy releases the GIL."""
    parts = (slice(start, min(start + size, total)) for start in range(0, total, size))
    with ThreadPoolExecutor(usable_cores()) as pool:
        for _ in pool.map(work, parts):
            pass
