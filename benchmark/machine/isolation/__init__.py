"""Processes of our own in which code of others runs: what hangs there, ends or changes the process, stays there.

This isolates crashes and is no sandbox: the code runs with the user's rights (docs/soundness.md). A process serves one
guest: once it has loaded the code of one (`bench.catalogue.guests`), nothing else is computed in it.
"""

from bench.machine.isolation.calls import Answer, Call, Elsewhere, End
from bench.machine.isolation.workers import Workers, apart, current, each_apart, isolated

__all__ = ["Answer", "Call", "Elsewhere", "End", "Workers", "apart", "current", "each_apart", "isolated"]
