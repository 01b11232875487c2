"""Repairs that make torchvision and RobustBench importable where their wheels do not fit together.

Three breakages are common enough to be met on a fresh machine:

- torchvision from PyPI is built for CUDA. With a CPU-only torch its C++ operators do not load, and
  the import dies because `torchvision::nms` does not exist (pytorch/vision#8985). Nothing here needs
  those operators, so declaring their schemas is enough.
- RobustBench imports `autoattack`, which is not on PyPI; `pyautoattack` is the same code under
  another name and signature.
- RobustBench imports `pkg_resources`, which setuptools 82 removed.

Each repair is made only where its breakage occurs, and only in this process; no installed file is touched.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import importlib.util
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.errors import BenchError


@dataclass(frozen=True)
class Repair:
    """A replacement for something broken, and the reason for it."""

    name: str
    why: str


_active: dict[str, Repair] = {}
# torch forgets an operator when its Library object dies.
_kept: list[object] = []

_OPERATORS = ("nms", "qnms")
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def active() -> list[Repair]:
    """Return the repairs made in this process so far."""
    return list(_active.values())


def _note(name: str, why: str) -> None:
    _active[name] = Repair(name, why)


def torchvision() -> ModuleType:
    """Import `torchvision` with its datasets, transforms and models; its detection operators may be absent.

    Raises:
        BenchError: torchvision is not installed, or does not fit the installed torch in another way.
    """
    try:
        return importlib.import_module("torchvision")
    except ImportError as error:
        raise _unusable("torchvision", error) from error
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise _unusable("torchvision", error) from error
    _forget("torchvision")
    _declare_operators()
    try:
        module = importlib.import_module("torchvision")
    except (ImportError, RuntimeError) as error:
        _forget("torchvision")
        raise _unusable("torchvision", error) from error
    _note("torchvision operators", "this torchvision is built for another torch; its nms operators are declared only")
    return module


def robustbench() -> ModuleType:
    """Import `robustbench`, whose `eval.benchmark` then runs AutoAttack through pyautoattack.

    Raises:
        BenchError: RobustBench is not installed, or its import fails for another reason.
    """
    loaded = sys.modules.get("robustbench")
    if loaded is not None:
        return loaded
    torchvision()
    stand_in = _StandIn()
    # Last on the path, so it is asked only for what no real package provides.
    sys.meta_path.append(stand_in)
    try:
        with warnings.catch_warnings():
            # RobustBench imports timm by deprecated names, which the user cannot mend.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            return importlib.import_module("robustbench")
    except Exception as error:
        _forget("robustbench")
        raise _unusable("robustbench", error) from error
    finally:
        sys.meta_path.remove(stand_in)
        if "pkg_resources" in stand_in.made:
            # Other libraries choose their code by whether it is there, and need more of it than RobustBench does.
            sys.modules.pop("pkg_resources", None)


def _unusable(name: str, error: Exception) -> BenchError:
    if isinstance(error, ModuleNotFoundError) and error.name == name:
        return BenchError(f"{name} is not installed: pip install {name}")
    reason = " ".join(str(error).split()) or type(error).__name__
    return BenchError(f"{name} does not import ({reason}): pip install --upgrade --force-reinstall {name} torch")


def _forget(package: str) -> None:
    """Drop a half-imported package, so that the next import starts afresh."""
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]


def _declare_operators() -> None:
    import torch

    untyped: Any = torch.library
    library = untyped.Library("torchvision", "FRAGMENT")
    for operator in _OPERATORS:
        if not hasattr(torch.ops.torchvision, operator):
            library.define(f"{operator}{_SCHEMA}")
    _kept.append(library)


class _StandIn:
    """An import finder for the two modules that RobustBench imports and PyPI does not have."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self._makers: dict[str, Callable[[], ModuleType]] = {
            "autoattack": _autoattack,
            "pkg_resources": _pkg_resources,
        }

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in self._makers:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        self.made.append(spec.name)
        return self._makers[spec.name]()

    def exec_module(self, module: ModuleType) -> None:
        """Run nothing: `create_module` returned a finished module."""


def _pkg_resources() -> ModuleType:
    def resource_filename(module: str, path: str) -> str:
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            raise FileNotFoundError(f"{module} has no folder")
        return str(Path(spec.origin).parent / path)

    _note("pkg_resources", "setuptools 82 removed it; RobustBench needs one function of it")
    module: Any = ModuleType("pkg_resources")
    module.resource_filename = resource_filename
    return module  # type: ignore[no-any-return]


def _autoattack() -> ModuleType:
    import pyautoattack

    _note("autoattack", "not on PyPI; pyautoattack, the same code, answers to its name and signature")
    module: Any = ModuleType("autoattack")
    for name, part in list(sys.modules.items()):
        parent, _, child = name.partition(".")
        if parent == "pyautoattack" and child and child != "autoattack":
            # The same module object under a second name: a copy would define every class twice.
            sys.modules[f"autoattack.{child}"] = part
            setattr(module, child, part)
    sys.modules["autoattack.autoattack"] = module.autoattack = module
    module.AutoAttack = _upstream_signature(pyautoattack.AutoAttack)
    return module  # type: ignore[no-any-return]


def _upstream_signature(parent: Any) -> type:  # noqa: ANN401  (a class of an untyped library)
    """Return pyautoattack's `AutoAttack` with the arguments of fra31/auto-attack."""

    class AutoAttack(parent):  # type: ignore[misc]
        def __init__(
            self,
            model: Any,  # noqa: ANN401  (whatever maps images to logits)
            norm: str = "Linf",
            eps: float = 0.3,
            seed: int | None = None,
            verbose: bool = True,
            attacks_to_run: Sequence[str] = (),
            version: str = "standard",
            is_tf_model: bool = False,
            device: Any = "cuda",  # noqa: ANN401  (a name or a torch.device)
            log_path: str | None = None,
        ) -> None:
            if is_tf_model:
                raise NotImplementedError("pyautoattack attacks PyTorch models only")
            # pyautoattack refuses any list, even an empty one, together with a version that brings its own.
            attacks = list(attacks_to_run) if version == "custom" else list(attacks_to_run) or None
            super().__init__(model, attacks=attacks, device=device, eps=eps, norm=norm, seed=seed, version=version)
            self.verbose = verbose
            self.log_path = log_path

        def run_standard_evaluation(
            self,
            x_orig: Any,  # noqa: ANN401  (a tensor; torch is not imported here)
            y_orig: Any,  # noqa: ANN401
            bs: int = 250,
            return_labels: bool = False,
            state_path: Path | None = None,
            *,
            batch_size: int | None = None,
        ) -> Any:  # noqa: ANN401
            with _logged(self.logger, self.log_path):
                found = super().run_standard_evaluation(
                    x_orig, y_orig, batch_size=batch_size or bs, state_path=state_path
                )
            # Only the parent's own methods pass `batch_size`, and they expect images and labels.
            return found if return_labels or batch_size else found[0]

        def run_standard_evaluation_individual(
            self,
            x_orig: Any,  # noqa: ANN401
            y_orig: Any,  # noqa: ANN401
            bs: int = 250,
            return_labels: bool = False,
        ) -> dict[str, Any]:
            found = super().run_standard_evaluation_individual(x_orig, y_orig, batch_size=bs)
            return found if return_labels else {name: pair[0] for name, pair in found.items()}

        def set_version(self, version: str = "standard") -> None:
            self._set_version(version)

    return AutoAttack


@contextlib.contextmanager
def _logged(logger: logging.Logger, path: str | None) -> Iterator[None]:
    """Write the logger's messages to a file for as long as the block runs."""
    if path is None:
        yield
        return
    handler, level = logging.FileHandler(path), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()
