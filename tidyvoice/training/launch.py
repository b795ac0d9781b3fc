"""torchrun without its log and failure report: a rank that fails prints its own error."""

import logging
import signal
import sys

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main

from tidyvoice.errors import INTERRUPTED

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
            hint = " The memory may be full." if -failure.exitcode == signal.SIGKILL else ""
            fix = f"{hint} Run the same command to resume at the last checkpoint."
            sys.exit(f"error: rank {rank} was killed by signal {-failure.exitcode} ({name}).{fix}")
        sys.exit(failure.exitcode)
