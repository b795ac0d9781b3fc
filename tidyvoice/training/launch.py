"""torchrun, but that Ctrl-C ends it without a traceback: ``python -m tidyvoice.training.launch``.

Takes torchrun's options. What it started has said by then that it was interrupted.
"""

import sys

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.run import main

from tidyvoice.errors import INTERRUPTED

if __name__ == "__main__":
    try:
        main()
    except SignalException:
        sys.exit(INTERRUPTED)
