"""A pretended GPU: marked CPU tensors, and an error when a marked tensor meets an unmarked one.

Code that runs on it runs on a GPU as far as devices are concerned: it finds a buffer left on the host, a new tensor
without a device, or `.numpy()` of a result on any machine. The numbers are those of the CPU. It says nothing about
speed, memory, streams or rounding on a GPU, and it does not see tensors that C++ creates inside a backward.

    with pretended_gpu():
        model.to("cuda")
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map_only

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")
# Functions that take tensors of both kinds on a real GPU: an index may be on the host, a copy may cross.
_MIXED = {
    *("_has_compatible_shallow_copy_type", "set_", "is_same_size", "copy_", "backward"),
    *("__getitem__", "index", "__setitem__", "__deepcopy__"),
}
_ATTRIBUTES = {"device": lambda marked: CUDA if marked else CPU, "is_cuda": bool, "is_cpu": lambda marked: not marked}
_HOST_ONLY = {"numpy", "__array__", "numpy_force"}


class MixedDevicesError(RuntimeError):
    """Raised where torch would complain about tensors of two devices."""


def is_marked(tensor: Tensor) -> bool:
    """Return whether a tensor is on the pretended GPU."""
    return getattr(tensor, "_on_gpu", False)


def _mark(tensor: Tensor, on: bool) -> Tensor:
    tensor._on_gpu = on  # type: ignore[attr-defined]  # noqa: SLF001  (the mark is ours)
    return tensor


def _names_gpu(device: Any) -> bool | None:  # noqa: ANN401  (whatever a call was given)
    """Return whether a `device` argument is a GPU; `None` if it is no device."""
    if isinstance(device, str | torch.device):
        try:
            return torch.device(device).type == "cuda"
        except RuntimeError:
            return None
    # An integer is the index of a GPU; a bool is an int in Python and must not count as one.
    return True if isinstance(device, int) and not isinstance(device, bool) else None


class PretendedGpu(TorchFunctionMode):
    """A torch function mode that intercepts every call of torch from Python while its `with` block runs."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        name, given = getattr(func, "__name__", str(func)), dict(kwargs or {})
        if name in ("__get__", "__set__"):
            return _attribute(func, name, args)
        if name == "cuda":
            return _moved(args[0], True)
        if name == "cpu":
            return _moved(args[0], False)
        if name == "to":
            return _to(func, args, given)
        if name == "pin_memory":
            return args[0]
        if name in _HOST_ONLY and is_marked(args[0]):
            raise TypeError("can't convert cuda:0 device type tensor to numpy: use Tensor.cpu() first")
        return _called(func, name, args, given)


def _attribute(func: Callable[..., Any], name: str, args: tuple[Any, ...]) -> Any:  # noqa: ANN401
    owner = getattr(getattr(func, "__self__", None), "__name__", "")
    if name == "__get__" and owner in _ATTRIBUTES:
        return _ATTRIBUTES[owner](is_marked(args[0]))
    found = func(*args)
    if name == "__set__" and owner == "data":
        _mark(args[0], is_marked(args[1]))
    elif isinstance(found, Tensor):
        _mark(found, is_marked(args[0]))
    return found


def _moved(tensor: Tensor, on: bool) -> Tensor:
    """Return a tensor on the requested device: itself if it is there, else a copy through which gradients flow."""
    if is_marked(tensor) == on:
        return tensor
    with torch._C.DisableTorchFunction():  # noqa: SLF001  (the clone of a marked one would be marked)
        return _mark(tensor.clone(), on)


def _to(func: Callable[..., Any], args: tuple[Any, ...], given: dict[str, Any]) -> Tensor:
    """Run `Tensor.to`, whose device may be any of its arguments."""
    source: Tensor = args[0]
    on, rest = is_marked(source), []
    for each in args[1:]:
        named = is_marked(each) if isinstance(each, Tensor) else _names_gpu(each)
        on = on if named is None or isinstance(each, torch.dtype) else named
        rest.append(CPU if named is not None and not isinstance(each, Tensor) else each)
    if given.get("device") is not None:
        on, given["device"] = bool(_names_gpu(given["device"])), CPU
    found: Tensor = func(source, *rest, **given)
    return _moved(source, on) if found is source else _mark(found, on)


def _called(func: Callable[..., Any], name: str, args: tuple[Any, ...], given: dict[str, Any]) -> Any:  # noqa: ANN401
    """Run any other call: the devices of its tensors determine the device of its results."""
    tensors = [each for each in tree_flatten((args, given))[0] if isinstance(each, Tensor)]
    on = any(is_marked(each) for each in tensors)
    if given.get("device") is not None:
        on, given["device"] = bool(_names_gpu(given["device"])), CPU
    elif name not in _MIXED:
        # A tensor without dimensions on the host may meet any other, as in torch.
        _require_one_device(name, [each for each in tensors if each.dim()])
    if name in ("__getitem__", "index", "__setitem__", "index_put_", "index_put"):
        _require_indexable(name, args)
    found = func(*args, **given)
    # In-place functions end in an underscore, and their result is on the device of the tensor they change.
    if name == "__deepcopy__" or (name.endswith("_") and not name.endswith("__") and tensors):
        on = is_marked(tensors[0])
    return tree_map_only(Tensor, lambda each: each if any(each is one for one in tensors) else _mark(each, on), found)


def _require_one_device(name: str, tensors: Sequence[Tensor]) -> None:
    marks = {is_marked(each) for each in tensors}
    if len(marks) > 1:
        raise MixedDevicesError(
            f"Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! "
            f"({name}{_place()})"
        )


def _require_indexable(name: str, args: tuple[Any, ...]) -> None:
    """Raise unless the index is on the device of the indexed tensor, or on the host."""
    index = [each for each in tree_flatten(args[1:2])[0] if isinstance(each, Tensor) and each.dim()]
    if any(is_marked(each) for each in index) and not is_marked(args[0]):
        raise MixedDevicesError(f"indices should be on the same device as the indexed tensor (cpu) ({name}{_place()})")
    values = [each for each in args[2:3] if isinstance(each, Tensor) and each.dim()]
    if name != "__setitem__" and any(is_marked(each) != is_marked(args[0]) for each in values):
        raise MixedDevicesError(f"Expected all tensors to be on the same device ({name}{_place()})")


def _place() -> str:
    """Return the last line of this repository in the stack of a fault."""
    ours = [
        frame
        for frame in traceback.extract_stack()
        if "site-packages" not in frame.filename and not frame.filename.endswith("pretend.py")
    ]
    return f" at {ours[-1].filename}:{ours[-1].lineno}" if ours else ""


class _Event:
    """A CUDA event that takes no time."""

    def __init__(self, **_options: object) -> None: ...
    def record(self, *_stream: object) -> None: ...
    def synchronize(self) -> None: ...
    def elapsed_time(self, _other: object) -> float:
        return 1.0


class _Properties:
    name, total_memory, multi_processor_count, major, minor = "pretended GPU", 80 << 30, 132, 9, 0


def _parameter_copied(parameter: nn.Parameter, memo: dict[int, Any]) -> nn.Parameter:
    """Copy a parameter and its mark; `Parameter.__deepcopy__` itself creates a tensor that the mode does not see."""
    if id(parameter) not in memo:
        with torch._C.DisableTorchFunction():  # noqa: SLF001
            copied = type(parameter)(parameter.data.clone(memory_format=torch.preserve_format), parameter.requires_grad)
        memo[id(parameter)] = _mark(copied, is_marked(parameter))
    copied_before: nn.Parameter = memo[id(parameter)]
    return copied_before


# The functions of torch.cuda with the answers of one GPU.
_ANSWERS: Mapping[str, Any] = {
    "is_available": lambda: True,
    "is_initialized": lambda: True,
    "device_count": lambda: 1,
    "current_device": lambda: 0,
    "get_device_name": lambda _device=None: _Properties.name,
    "get_device_properties": lambda _device=None: _Properties,
    "get_device_capability": lambda _device=None: (9, 0),
    "set_device": lambda _device: None,
    "synchronize": lambda _device=None: None,
    "empty_cache": lambda: None,
    "memory_allocated": lambda _device=None: 0,
    "max_memory_allocated": lambda _device=None: 0,
    "reset_peak_memory_stats": lambda _device=None: None,
    "get_rng_state": lambda _device=None: torch.get_rng_state(),
    "set_rng_state": lambda state, _device=None: torch.set_rng_state(state),
    "is_current_stream_capturing": lambda: False,
    "get_sync_debug_mode": lambda: 0,
    "set_sync_debug_mode": lambda _mode: None,
    "manual_seed": lambda _seed: None,
    "manual_seed_all": lambda _seed: None,
    "_lazy_init": lambda: None,
    "Event": _Event,
}


@contextmanager
def pretended_gpu() -> Iterator[None]:
    """Pretend one GPU, `cuda:0`, for this thread, with any build of torch and on a machine without a GPU."""
    with ExitStack() as stack:
        for name, answer in _ANSWERS.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, answer))
            if hasattr(torch.cuda.random, name):
                stack.enter_context(mock.patch.object(torch.cuda.random, name, answer))
        # torch.autocast("cuda") disables itself without a GPU; the CPU's autocast rounds to bfloat16 in the same way.
        stack.enter_context(mock.patch.object(torch, "autocast", _autocast(torch.autocast)))
        stack.enter_context(mock.patch.object(nn.Parameter, "__deepcopy__", _parameter_copied))
        stack.enter_context(PretendedGpu())
        yield


def _autocast(original: type[torch.autocast]) -> type[torch.autocast]:
    class Autocast(original):  # type: ignore[misc, valid-type]
        def __init__(self, device_type: str, *args: Any, **given: Any) -> None:  # noqa: ANN401
            super().__init__("cpu" if device_type == "cuda" else device_type, *args, **given)

    return Autocast
