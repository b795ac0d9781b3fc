"""``python -m tidyvoice`` is the command ``tidyvoice``."""

from tidyvoice.cli import main

if __name__ == "__main__":
    main()
