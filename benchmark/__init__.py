"""A benchmark harness for adversarial robustness: `bench.run`, `bench.evaluate`, `bench.load`, and the command line.

What is named here is imported when it is first used: `import bench` brings neither torch nor pandas.
"""

from __future__ import annotations

# Nothing else here: `python -m bench` runs this before it can take the working directory from the path of imports.
import importlib

TYPE_CHECKING = False
__version__ = "0.2.0"

_HOME = {
    "run": "api.fill",
    "plan": "api.forecast",
    "evaluate": "api.evaluation",
    "search_attack": "api.search",
    "load": "api.stored",
    "gate": "api.stored",
    "Results": "api.results",
    "Images": "api.images",
    "ATTACKS": "catalogue",
    "DEFENSES": "catalogue",
    "Attack": "oracle.attack",
    "BenchError": "errors",
    "Card": "types",
    "Defense": "types",
    "Examples": "datasets.examples",
    "ImageSpec": "types",
    "ThreatModel": "threats",
}
__all__ = ["__version__", *_HOME]

if TYPE_CHECKING:
    from typing import Any

    from bench.api.evaluation import evaluate as evaluate
    from bench.api.fill import run as run
    from bench.api.forecast import plan as plan
    from bench.api.images import Images as Images
    from bench.api.results import Results as Results
    from bench.api.search import search_attack as search_attack
    from bench.api.stored import gate as gate
    from bench.api.stored import load as load
    from bench.catalogue import ATTACKS as ATTACKS
    from bench.catalogue import DEFENSES as DEFENSES
    from bench.datasets.examples import Examples as Examples
    from bench.errors import BenchError as BenchError
    from bench.oracle.attack import Attack as Attack
    from bench.threats import ThreatModel as ThreatModel
    from bench.types import Card as Card
    from bench.types import Defense as Defense
    from bench.types import ImageSpec as ImageSpec


def __getattr__(name: str) -> Any:  # noqa: ANN401  (whatever the name stands for)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
