"""`python -m bench`: the command line."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    # Python puts the working directory before everything else, and a `json.py` there would be taken for Python's own:
    # taken away with what is loaded already, before anything is imported.
    if not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:  # noqa: PTH109  (pathlib would be imported)
        del sys.path[0]
    from bench.cli import main

    sys.exit(main())
