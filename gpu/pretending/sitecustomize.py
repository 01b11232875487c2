"""Every Python process that finds this folder on its path runs on the pretended GPU from its first line to its last."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from gpu.pretend import pretended_gpu

_held = pretended_gpu()
_held.__enter__()
