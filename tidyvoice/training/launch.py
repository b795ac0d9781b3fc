"""torchrun without its log and failure report: a rank that fails prints its own error."""

import logging
import signal
import sys

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main

from tidyvoice.errors import INTERRUPTED

HINTS = {
    signal.SIGKILL: " The memory may be full.",
    # NCCL's watchdog aborts the process, so that no Python code can describe the problem.
    signal.SIGABRT: " NCCL aborts a rank when another one is lost, or late by timeout_seconds: see"
    " the first error.",
}

if __name__ == "__main__":
    logging.disable()
    try:
        main()
    except SignalException:
        sys.exit(INTERRUPTED)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode < 0:
            name = signal.strsignal(-failure.exitcode)
            hint = HINTS.get(-failure.exitcode, "")
            fix = f"{hint} Run the same command to resume at the last checkpoint."
            sys.exit(f"error: rank {rank} was killed by signal {-failure.exitcode} ({name}).{fix}")
        sys.exit(failure.exitcode)
