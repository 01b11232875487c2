"""The command `bench test-plugin`, which runs our contracts on somebody else's attack or defense."""

from __future__ import annotations

from typing import Any

from bench import api
from bench.report.plain import json_text

_WIDTH = 20


def hold_to_contracts(target: str, as_json: bool, **options: Any) -> int:  # noqa: ANN401  (those of `api.hold_to_contracts`)
    """Print each contract as soon as its result is known, or all of them as JSON; return 1 if one is broken."""
    kind, rows = api.hold_to_contracts(target, **options)
    if as_json:
        done = list(rows)
        told = {"plug-in": target, "kind": kind, "contracts": [held.to_json() for held in done]}
        print(json_text(told))
        return 1 if any(held.verdict == "fail" for held in done) else 0
    print(f"{target} is {'an' if kind == 'attack' else 'a'} {kind}")
    counts = {"pass": 0, "fail": 0, "n/a": 0}
    for held in rows:
        counts[held.verdict] += 1
        where = f"{held.contract} {held.under}".strip()
        print(f"{held.verdict.upper():5}{where:{_WIDTH}} {held.says}: {held.seen}", flush=True)
        if held.remedy:
            print(f"     {'':{_WIDTH}} remedy: {held.remedy}")
    kept, broken, idle = counts.values()
    print(f"test-plugin: {kept} contracts kept, {broken} broken, {idle} not applicable")
    return 1 if broken else 0
