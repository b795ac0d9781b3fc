"""torchrun without its own log and tracebacks: ``python -m tidyvoice.training.launch``.

Takes torchrun's options. A process that fails has reported its error in one line, to which
torchrun's report adds nothing; a process that was killed is reported here.
"""

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
            name = signal.Signals(-failure.exitcode).name
            sys.exit(
                f"error: rank {rank} was killed by {name}; SIGKILL often means that the memory is "
                "full. Run the same command to resume at the last checkpoint."
            )
        sys.exit(failure.exitcode)
