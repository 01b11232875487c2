"""What a plug-in owes its callers, one contract at a time, and what came of holding it to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Generic, Literal, TypeVar

from bench.errors import BenchError, one_line
from bench.oracle.float32 import exact_float32
from bench.oracle.randomness import preserved_generators

Subject = TypeVar("Subject")


class Broken(Exception):
    """A contract is not kept; the message is what was seen, in one line."""


class Inapplicable(Exception):
    """A contract does not apply; the message says why."""


@dataclass(frozen=True)
class Contract(Generic[Subject]):
    """One promise.

    Attributes:
        name: in kebab-case.
        says: the promise in a few words.
        check: holds a subject to it; returns what was seen where it is kept, raises `Broken` where it is not, and
            `Inapplicable` where it cannot be asked for.
        remedy: what its author may do where it is broken.
        each_family: of an attack, whether it is checked under each of its threat families, or under the first alone.
        slow: whether it takes the attack at its full length.
    """

    name: str
    says: str
    check: Callable[[Subject], str]
    remedy: str
    each_family: bool = False
    slow: bool = False


@dataclass(frozen=True)
class Held:
    """What came of one contract.

    Attributes:
        contract: its name.
        says: what it promises.
        under: the threat family, where it is about one.
        verdict: `pass`, `fail`, or `n/a` where it does not apply.
        seen: what was seen, or why it does not apply.
        remedy: what to do; empty unless it failed.
    """

    contract: str
    says: str
    under: str
    verdict: Literal["pass", "fail", "n/a"]
    seen: str
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def hold(contract: Contract[Subject], subject: Subject, under: str = "") -> Held:
    """Hold a subject to a contract; whatever its code raises is a contract broken, never an error of ours."""

    def held(verdict: Literal["pass", "fail", "n/a"], seen: str) -> Held:
        return Held(contract.name, contract.says, under, verdict, seen, contract.remedy if verdict == "fail" else "")

    try:
        return held("pass", keep(contract, subject))
    except Inapplicable as reason:
        return held("n/a", str(reason))
    except Broken as broken:
        return held("fail", str(broken))
    except Exception as error:  # noqa: BLE001  (a plug-in is anybody's code)
        return held("fail", f"raised {one_line(error)}")


def keep(contract: Contract[Subject], subject: Subject) -> str:
    """What was seen of a contract that is kept, with the generators left as they were.

    Raises:
        Broken: it is not kept.
        Inapplicable: it cannot be asked for.
    """
    with preserved_generators(), exact_float32():
        return contract.check(subject)


def named(contracts: Iterable[Contract[Subject]], name: str) -> Contract[Subject]:
    """The contract of this name.

    Raises:
        BenchError: there is none.
    """
    found: Iterator[Contract[Subject]] = (each for each in contracts if each.name == name)
    for contract in found:
        return contract
    raise BenchError(f"no contract is called {name!r}")
