"""The options of a run, each declared once: the command line, study files, `BENCH_*` and the API derive from this.

A given value outranks the environment, the environment outranks a study, and a study outranks the default.
"""

from __future__ import annotations

import operator
import os
import types
import typing
from collections.abc import Collection, Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from bench.errors import BenchError, brief, unknown

DEFAULT_DRAWS = 10
DEFAULT_BATCH = 128
# Not `results`: in a checkout of this repository, and in many others, that is a folder under version control.
DEFAULT_RESULTS = Path("bench-results")
DATASETS = "cifar10, cifar100, imagenette-160, imagenette-320 or 'imagefolder:PATH[resize=256,crop=224]'"

_PREFIX = "BENCH_"


def option(default: Any, help_: str, *, study: bool = False, short: str = "", typed: bool = False) -> Any:  # noqa: ANN401  (a field of any type)
    """Declare a field of `RunOptions`.

    Args:
        default: the value if nothing else is given.
        help_: one or two sentences, for `--help` and the documentation.
        study: whether a study file may fix it.
        short: how help shows the default; by default as it is.
        typed: whether it has to be typed: the environment cannot give it.
    """
    return field(default=default, metadata={"help": help_, "study": study, "short": short, "typed": typed})


@dataclass(frozen=True)
class RunOptions:
    """The options of `bench run` and `bench.run`; a study is a file that fixes some of them."""

    defenses: str = option("default", "NAME,NAME[key=value],./file.py:function, default or all.", study=True)
    attacks: str = option(
        "default",
        "default, all, seen, unseen, none, lp, non-lp, score, decision, or names as for defenses.",
        study=True,
    )
    study: str = option("", "A name (bench list studies) or your own FILE.toml; other options outrank it.")
    dataset: str = option("digits", f"digits, {DATASETS}.", study=True)
    data: Path | None = option(None, "Folder the datasets lie in.", short="the user cache")
    threat: str = option("", "FAMILY:EPS,... such as Linf:8/255,L2:0.5.", study=True, short="the usual ones")
    eps: str = option("", "A sweep over eps of one family: 2/255,4/255,8/255.", study=True)
    n: int = option(128, "How many test images, the same ones every time.", study=True)
    seed: int = option(0, "Seed of the run.", study=True)
    draws: int = option(DEFAULT_DRAWS, "Evaluation draws that judge a stochastic defense.", study=True)
    batch: int = option(DEFAULT_BATCH, "Images per shard; part of what a stochastic defense sees.")
    device: str = option("auto", "auto, cpu, cuda or cuda:N.")
    results: Path = option(DEFAULT_RESULTS, "Folder of stored verdicts.")
    weights: Path | None = option(
        None, "Folder of your own weights, searched before the shipped ones.", short="the shipped ones"
    )
    executor: str = option(
        "auto", "auto and processes: workers on this machine; local: in this process; ray: a Ray cluster."
    )
    ray_address: str = option(
        "", "HOST:PORT of a running Ray cluster, for --executor ray.", short="a cluster on this machine"
    )
    jobs: int = option(0, "Shards computed at once; 0: one per core, or per GPU.")
    timeout: int = option(
        0,
        "Most seconds for one step of others' code: loading, the examination, a shard of a cell.",
        short="20 times its estimate, and at least 600",
    )
    checks: str = option("auto", "auto: probes within a tenth of the run; all of them; none, and no preflight.")
    corruptions: Path | None = option(
        None, "Also a folder of corrupted images: CIFAR-10-C, or NAME/SEVERITY/CLASS/FILE.", short="no such images"
    )
    despite: str = option("", "Compute cells in spite of these blocking checks: S05,S14.")
    precision: str = option(
        "float32", "float32: ask it as it is; auto: search in the fastest format here, confirm as it is."
    )
    shard: str = option("", "I/N: only share I of N, for as many machines; then merge, and run once without it.")
    trust: str = option("", "SHA-256 of code that a study or the environment names: it runs only then.", typed=True)
    label: str = option("", "Call the defenses of this run NAME#LABEL: beside others of that name in one folder.")


BY_NAME: Mapping[str, Field[Any]] = {each.name: each for each in fields(RunOptions)}
_TYPES: Mapping[str, Any] = typing.get_type_hints(RunOptions)


def variable(name: str) -> str:
    """Return the environment variable of an option, such as BENCH_RESULTS; empty for one that has to be typed."""
    return "" if BY_NAME[name].metadata["typed"] else _PREFIX + name.upper()


def kind_of(name: str) -> type:
    """Return the type of an option: `str`, `int` or `Path`."""
    declared = _TYPES[name]
    # `Path | None`: None means "not given" and has no spelling on the command line.
    if isinstance(declared, types.UnionType):
        declared = next(each for each in declared.__args__ if each is not types.NoneType)
    kind: type = declared
    return kind


def default_of(name: str) -> Any:  # noqa: ANN401  (whatever its type is)
    """Return the value of an option that is not given: from the environment, else its default."""
    return {name: BY_NAME[name].default, **_of_environment()}[name]


def of_studies() -> dict[str, type]:
    """Return the options that a study file may fix, with their types."""
    return {name: kind_of(name) for name, each in BY_NAME.items() if each.metadata["study"]}


def settled(given: Mapping[str, Any]) -> RunOptions:
    """Return the options of a run: those given, else those of the environment, else of the study, else the defaults.

    Args:
        given: values by name; `None` means not given.

    Raises:
        BenchError: an unknown name, a value of the wrong type, or attacks together with a study that names its own.
    """
    from bench.catalogue import study as studies

    for name in given:
        if name not in BY_NAME:
            raise unknown("option", name, BY_NAME)
    typed = {name: _typed(name, value, name) for name, value in given.items() if value is not None}
    by_hand = frozenset(typed)
    typed = {**_of_environment(), **typed}
    asked = studies.read(typed["study"]) if typed.get("study") else studies.Study("")
    _require_trusted(by_hand, asked.options, typed)
    if (asked.rungs or asked.claims) and "attacks" in typed:
        who = "rungs" if asked.rungs else "protocols"
        raise BenchError(
            f"--attacks {typed['attacks']!r}: the {who} of study {typed['study']!r} name the attacks; leave it out"
        )
    return RunOptions(**{**asked.options, **typed})


def _require_trusted(given: Collection[str], studied: Mapping[str, Any], typed: Mapping[str, Any]) -> None:
    """Raise a BenchError if a study or the environment names a file of code whose digest was not typed.

    Args:
        given: the names of the options that were typed.
        studied: what the study fixes.
        typed: what was typed, and what the environment says where nothing was.
    """
    from bench.catalogue.trust import require_trusted

    trusted = str(typed.get("trust", "")).split(",")
    for name in ("defenses", "attacks"):
        if name in given:
            continue
        origin = variable(name) if name in typed else f"study {typed.get('study', '')!r}"
        text = typed.get(name, studied.get(name, ""))
        if ".py" in text:
            require_trusted(text, name.removesuffix("s"), origin, trusted)


def _of_environment() -> dict[str, Any]:
    there = {name: os.environ.get(variable(name), "") for name in BY_NAME if variable(name)}
    return {name: _typed(name, text, variable(name)) for name, text in there.items() if text}


def _typed(name: str, value: Any, where: str) -> Any:  # noqa: ANN401  (whatever is given, as what is declared)
    """Return a value in the declared type of its option: text is parsed, a list of names is joined with commas."""
    kind = kind_of(name)
    if kind is Path and isinstance(value, str | os.PathLike):
        if not isinstance(os.fspath(value), str) or not os.fspath(value) or "\0" in os.fspath(value):
            raise BenchError(f"{where} {brief(value)} is no path: name a file or folder")
        return Path(value)
    if kind is int and isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            raise BenchError(f"{where} {brief(value)} is not a whole number") from None
    if kind is int and _is_whole(value):
        return int(value)
    if kind is str and isinstance(value, list | tuple):
        if not value and name in ("threat", "eps"):
            raise BenchError(f"{where} is an empty list: leave it out for the usual ones")
        return ",".join(map(str, value))
    if kind is str and not isinstance(value, str | bytes) and name in ("threat", "eps"):
        return str(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BenchError(f"{where} {brief(value)} is {type(value).__name__}: give {_SPELLED[kind]}")
    return value


_SPELLED = {str: "text", int: "a whole number", Path: "a path"}


def _is_whole(value: object) -> bool:
    """Return whether this is a whole number, of Python or of numpy; bool is an int in Python: n=True would run one."""
    try:
        operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return False
    return not isinstance(value, bool)


def names_for(name: str) -> list[str]:
    """Return the completions of an option, or of an argument with that name.

    Args:
        name: an option; or `defense`, `figure`, `width`, `recipe`, `archive` and `kind` of the commands that take one.
    """
    from bench.catalogue import ATTACKS, DEFENSES, study
    from bench.catalogue.training import recipes
    from bench.datasets.archives import ARCHIVES
    from bench.datasets.names import known
    from bench.threats import FAMILIES

    groups = ["default", "all", "seen", "unseen", "none", "lp", "non-lp", "score", "decision"]
    found: dict[str, Iterable[str]] = {
        "defenses": ["default", "all", *DEFENSES.names()],
        "attacks": [*groups, *ATTACKS.names()],
        "dataset": known(),
        "study": study.names(),
        "threat": FAMILIES,
        "device": ["auto", "cpu", "cuda"],
        "executor": ["auto", "local", "processes", "ray"],
        "checks": ["auto", "all", "none"],
        "precision": ["float32", "auto"],
        "defense": DEFENSES.names(),
        "show": [*DEFENSES.names(), *ATTACKS.names()],
        "figure": ["matrix", "forest", "curves", "ladder", "cost"],
        "width": ["column", "page"],
        "recipe": recipes(),
        "archive": ARCHIVES,
        "kind": ["all", "attacks", "defenses", "datasets", "studies"],
        "format": ["screen", "grid", "markdown", "latex"],
    }
    return list(found.get(name, ()))
