"""Start-up code that runs every Python process with this folder on its path on the pretended GPU."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from gpu.pretend import pretended_gpu

# Kept in a name and never closed: the context lasts as long as the process.
_held = pretended_gpu()
_held.__enter__()
