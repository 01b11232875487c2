"""The Python interface of the harness; `import bench` exports the names that users need most.

Everything is imported when it is first used, so that `import bench` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {
    # compute
    "run": "api.fill",
    "plan": "api.forecast",
    "run_share": "api.share",
    "evaluate": "api.evaluation",
    "own_images": "api.evaluation",
    "import_archive": "api.archives",
    "search_attack": "api.search",
    "AttackSearch": "api.search",
    "train": "api.training",
    "slow_arithmetic": "api.training",
    "unfinished": "api.training",
    "run_of": "api.training",
    "download": "datasets.download",
    "archive_of": "datasets.download",
    # read
    "load": "api.stored",
    "gate": "api.stored",
    "compare": "api.stored",
    "compare_attacks": "api.stored",
    "history": "api.stages",
    "require_baseline": "api.stored",
    "require_promises": "api.stored",
    "runs": "api.stored",
    "verify": "api.stored",
    "prune": "api.stored",
    "merge": "api.stored",
    "finished": "api.stored",
    "update_baseline": "api.baseline",
    "describe_baseline": "api.baseline",
    "Results": "api.results",
    "Images": "api.images",
    "spent": "report.cell",
    # examine
    "check": "api.examination",
    "audit": "api.examination",
    "doctor": "checks.installation",
    "hold_to_contracts": "api.plugins",
    "compare_with_golden": "checks.selftest",
    "record_golden": "checks.selftest",
    # what there is
    "listing": "report.listing",
    "registered": "report.listing",
    "about": "report.listing",
    "example": "catalogue.example",
    "order_of_classes": "datasets.load",
}

if TYPE_CHECKING:
    from bench.api.archives import import_archive as import_archive
    from bench.api.baseline import describe_baseline as describe_baseline
    from bench.api.baseline import update_baseline as update_baseline
    from bench.api.evaluation import evaluate as evaluate
    from bench.api.evaluation import own_images as own_images
    from bench.api.examination import audit as audit
    from bench.api.examination import check as check
    from bench.api.fill import run as run
    from bench.api.forecast import plan as plan
    from bench.api.images import Images as Images
    from bench.api.plugins import hold_to_contracts as hold_to_contracts
    from bench.api.results import Results as Results
    from bench.api.search import AttackSearch as AttackSearch
    from bench.api.search import search_attack as search_attack
    from bench.api.share import run_share as run_share
    from bench.api.stages import history as history
    from bench.api.stored import compare as compare
    from bench.api.stored import compare_attacks as compare_attacks
    from bench.api.stored import finished as finished
    from bench.api.stored import gate as gate
    from bench.api.stored import load as load
    from bench.api.stored import merge as merge
    from bench.api.stored import prune as prune
    from bench.api.stored import require_baseline as require_baseline
    from bench.api.stored import require_promises as require_promises
    from bench.api.stored import runs as runs
    from bench.api.stored import verify as verify
    from bench.api.training import run_of as run_of
    from bench.api.training import slow_arithmetic as slow_arithmetic
    from bench.api.training import train as train
    from bench.api.training import unfinished as unfinished
    from bench.catalogue.example import example as example
    from bench.checks.installation import doctor as doctor
    from bench.checks.selftest import compare_with_golden as compare_with_golden
    from bench.checks.selftest import record_golden as record_golden
    from bench.datasets.download import archive_of as archive_of
    from bench.datasets.download import download as download
    from bench.datasets.load import order_of_classes as order_of_classes
    from bench.report.cell import spent as spent
    from bench.report.listing import about as about
    from bench.report.listing import listing as listing
    from bench.report.listing import registered as registered


def __getattr__(name: str) -> Any:  # noqa: ANN401  (whatever the name stands for)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"bench.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return list(_HOME)
