"""``python -m runner`` is the console script ``runner``."""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    if sys.path[0] == os.getcwd() != str(Path(__file__).parents[1]):
        sys.path.pop(0)  # with -m, files of the working folder would hide what is installed
    from runner.cli.main import main

    main()
