"""The command line `python -m gpu CALL`, from the repository's root; a call is `measure`, a study, `plan`, ..."""

from __future__ import annotations

import importlib
import sys

from gpu import uninstalled

_CALLS = {
    "measure": "gpu.measure",
    "cifar10": "gpu.study",
    "cifar100": "gpu.study",
    "imagenette": "gpu.study",
    "diffusion": "gpu.study",
    "plan": "gpu.plan",
    "unpack": "gpu.parcel",
    "rehearsal": "gpu.rehearsal",
}


def main() -> int:
    """Run the call named by the first argument and return its exit status."""
    name, *rest = sys.argv[1:] or ["--help"]
    if name not in _CALLS:
        print(f"python -m gpu {'|'.join(_CALLS)} [--help]", file=sys.stderr)
        return 0 if name in ("-h", "--help") else 2
    uninstalled.importable()
    module = importlib.import_module(_CALLS[name])
    status: int = module.main([name, *rest] if _CALLS[name] == "gpu.study" else rest)
    return status


if __name__ == "__main__":
    sys.exit(main())
