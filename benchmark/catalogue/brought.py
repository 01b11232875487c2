"""Defenses and attacks that a user brings, from a file or in memory, instead of registering them."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from bench.catalogue import behaviour
from bench.catalogue.record import require_record
from bench.catalogue.refs import AttackRef
from bench.catalogue.registry import AttackEntry
from bench.errors import BenchError, one_line
from bench.oracle.answers import FaultyDefense, check_logits
from bench.oracle.attack import Attack, misunderstood, traits_of
from bench.oracle.randomness import preserved_generators, seed_everything
from bench.types import Defense, ImageSpec


def as_defense(built: object, source: str, spec: ImageSpec) -> Defense:
    """Return a `Defense` record for what a build function returned.

    Whether it is stochastic is measured: a defense whose two differently seeded
    forwards differ is stochastic whatever it declares.

    Raises:
        BenchError: it is neither a module nor a record, or does not map images to logits.
    """
    defense = as_record(built, source)
    if not defense.stochastic and draws_differ(defense.model, source, spec):
        return replace(defense, stochastic=True)
    return defense


def as_record(built: object, source: str) -> Defense:
    """Return the result of a build function as a `Defense`; a bare module becomes one that declares nothing else."""
    if isinstance(built, nn.Module):
        built = Defense(built)
    if not isinstance(built, Defense):
        wrong = f"{source!r} returned {type(built).__name__}"
        raise BenchError(f"{wrong}: return an nn.Module from [0, 1] images to logits, or a Defense")
    require_record(built, source)
    for name, tensor in (*built.model.named_parameters(), *built.model.named_buffers()):
        if tensor.is_meta:
            raise BenchError(f"{source!r}: {name} is on the device 'meta', which holds no numbers: load the weights")
    try:
        # Only programs of torch.export refuse a change of mode.
        built.model.eval()
    except NotImplementedError:
        built = replace(built, model=Exported(built.model))
    return built


class Exported(nn.Module):
    """A program of torch.export, wrapped so that `train` and `eval` work: the program itself refuses both."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.program(x)
        return logits

    def train(self, mode: bool = True) -> Exported:
        """Set the flag `training` alone, because the modes of the layers were fixed at export."""
        self.training = mode
        return self


def draws_differ(model: nn.Module, source: str, spec: ImageSpec) -> bool:
    """Return whether two forwards of the same images under different seeds differ in any bit."""
    device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
    answers = []
    with preserved_generators(), torch.no_grad():
        seed_everything("custom", "images")
        x = torch.rand(8, *spec.shape).to(device)
        for draw in (1, 2):
            seed_everything("custom", draw)
            try:
                # A clone, because a model may work in place and the second draw has to see the same images.
                answers.append(model(x.clone()))
            except Exception as error:
                raise BenchError(f"{source!r} fails on images of shape {tuple(x.shape)}: {one_line(error)}") from error
    for answer in answers:
        _check_logits(answer, 8, spec.classes, source)
    return not torch.equal(answers[0], answers[1])


def is_defense(built: object) -> bool:
    """Return whether the result of a build function is a defense; a module is one, although it is callable."""
    return isinstance(built, nn.Module | Defense)


def as_attack(built: object, source: str) -> Attack:
    """Return the result of a build function as an attack.

    Raises:
        BenchError: it is not callable.
    """
    wanted = "a callable (oracle, x, y, threat, *, stream)"
    if inspect.isclass(built):
        raise BenchError(f"{source!r} is the class {built.__name__}: give {wanted}, such as {built.__name__}()")
    if is_defense(built):
        raise BenchError(f"{source!r} is a defense ({type(built).__name__}): name it with --defenses, or give {wanted}")
    if not callable(built):
        raise BenchError(f"{source!r} returned {type(built).__name__}: return {wanted}")
    return built


def described(attack: Attack, label: str, source: str, digest: str) -> tuple[AttackEntry, AttackRef]:
    """Return a user's attack as it describes itself, unchecked; nothing is attacked.

    Args:
        attack: the attack; its `bench.oracle.attack.Traits` describe it.
        label: as in tables.
        source: the name it can be loaded by again.
        digest: of what it was made from.
    """
    traits = traits_of(attack)
    entry = AttackEntry(
        label,
        source,
        cite="",
        summary="",
        families=traits.families,
        forwards=traits.forwards,
        backwards=traits.backwards,
        access=traits.access,
        eot=traits.eot,
        not_for=traits.not_for,
    )
    return entry, AttackRef(
        label,
        source,
        digest,
        access=entry.access,
        forwards=entry.forwards,
        backwards=entry.backwards,
        eot=entry.eot,
    )


def recognizable(
    attack: Attack, label: str, source: str, digest: str, spec: ImageSpec
) -> tuple[AttackEntry, AttackRef]:
    """Return a user's attack as it describes itself, with what it proposes on a fixed classifier.

    Raises:
        BenchError: one of its traits makes no sense.
    """
    entry, ref = described(attack, label, source, digest)
    faults = misunderstood(traits_of(attack))
    if faults:
        raise BenchError(f"{source!r} says of itself what is not understood: {faults[0]}; see docs/attacks.md")
    return entry, replace(ref, answers=behaviour.of_attack(attack, entry.families[0], spec))


def modules_of(defense: Defense) -> list[nn.Module]:
    """Return every module that a defense declares."""
    declared = (defense.model, defense.surrogate, defense.base, defense.purifier, defense.derandomized)
    return [module for module in declared if module is not None]


def of_state(model: nn.Module) -> str:
    """Return the SHA-256 of every tensor of a module."""
    sha = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        for part in _parts(value):
            if isinstance(part, torch.Tensor):
                sha.update(f"{name} {part.dtype} {tuple(part.shape)}".encode())
                # As bytes, because numpy has no bfloat16. Quantized tensors have no such view and are expanded first.
                plain = part.dequantize() if part.is_quantized else part
                sha.update(plain.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
            else:
                sha.update(f"{name} {part!r}".encode())
    return sha.hexdigest()


def _parts(value: object) -> Iterator[object]:
    """Yield a value of a state, or the parts of it: int8 layers keep weight and bias in one tuple."""
    if isinstance(value, tuple | list):
        for item in value:
            yield from _parts(item)
    else:
        yield value


def _check_logits(answer: object, rows: int, classes: int, source: str) -> None:
    try:
        check_logits(answer, rows)
    except FaultyDefense as error:
        raise BenchError(f"{source!r}: {error}; it must map [0, 1] images to logits") from None
    assert isinstance(answer, torch.Tensor)  # noqa: S101  (check_logits has made sure)
    if answer.shape[1] != classes:
        raise BenchError(f"S02: {source!r} gives {answer.shape[1]} classes, the dataset has {classes}: pair them anew")
