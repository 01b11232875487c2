"""Reports of every kind, and names that try to be more than names."""

from __future__ import annotations

from bench.report.gate_report import FloorRow, GateReport, GateRow, Standing, mistaken

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "](https://evil.example) ![x](https://evil.example/x.png)",
    "`code` | cell \\| more | **bold** @everyone www.evil.example",
    "x\n::error title=forged::forged\r\n##[add-path]/evil\n::set-output name=a::b",
    "%0A::error::forged, title=a:b",
    "\x1b[31mred\x1b]0;title\x07\x00\x08\u202e\ufffe\ud800",
    "\"quoted\" 'quoted' & ]]> <!-- -->",
    r"\input{/etc/passwd}",
    "=cmd|' /C calc'!A0",
)

OK = GateRow("at x pgd-20 (Linf:0.2)", "ok", 512, 0.5, 0.5, dataset="digits", seconds=1.25)
ROSE = GateRow("at x fgsm (L2:1)", "improvement", 512, 0.5, 0.6, -0.1, rise=1e-9, dataset="digits", seconds=2)
FELL = GateRow("at x fgsm (Linf:0.2)", "regression", 512, 0.6, 0.5, 0.1, 1e-9, 1e-8, dataset="digits")
GONE = GateRow("at x apgd-t (Linf:0.2)", "absent", reason="missing in the candidate", dataset="digits")
OTHER = GateRow("at x noise (Linf:0.2)", "not comparable", reason="seed 0 -> 7", dataset="digits")
HELD = FloorRow("at/pgd-20 (Linf:0.2)", "ok", 0.4, 512, 0.5, 0.46, 0.54, "deterministic", dataset="digits")
BROKEN = FloorRow("at/fgsm (Linf:0.2)", "below", 0.52, 512, 0.5, 0.46, 0.54, "deterministic", dataset="digits")
OPEN = FloorRow("at/worst-all", "absent", 0.4, 512, reason="an upper bound: 1 of 2 cells failed", dataset="digits")
ONE = (Standing("at", 0.547),)

REPORTS = {
    "green": GateReport((OK, ROSE), detectable=0.02, floors=(HELD,), standings=ONE),
    "floors alone": GateReport((), floors=(HELD,), standings=ONE),
    "regression": GateReport((OK, FELL, ROSE), detectable=0.02, standings=ONE),
    "broken floor": GateReport((), floors=(HELD, BROKEN), standings=ONE),
    "not comparable": GateReport((OK, OTHER), (f"{OTHER.title}: {OTHER.reason}",), detectable=0.02),
    "refused as a whole": GateReport((OK,), ("the baseline holds 2 different defenses called 'at'",), detectable=0.02),
    "absent": GateReport((OK, GONE), (), (f"{GONE.title}: {GONE.reason}",), detectable=0.02),
    "open floor": GateReport((), (), ("floor at/worst-all: an upper bound",), floors=(OPEN,)),
    "underpowered": GateReport((OK,), notes=("only the 16 images both sides have are compared",), detectable=0.2),
    "underpowered, allowed": GateReport((OK,), detectable=0.2, allow_underpowered=True),
    "blind": GateReport((OK,)),
    "mistake": mistaken("baseline folder 'basline' does not exist"),
}
STATUSES = {
    "green": 0,
    "floors alone": 0,
    "regression": 1,
    "broken floor": 1,
    "not comparable": 2,
    "refused as a whole": 2,
    "absent": 3,
    "open floor": 3,
    "underpowered": 4,
    "underpowered, allowed": 0,
    "blind": 4,
    "mistake": 2,
}


def hostile(name):
    """A report whose every text is `name`."""
    rows = (
        GateRow(name, "regression", 9, 0.9, 0.1, 0.8, 1e-9, 1e-9, reason=name, dataset=name),
        GateRow(name, "improvement", 9, 0.1, 0.9, -0.8, rise=1e-9, dataset=name),
        GateRow(name, "absent", reason=name, dataset=name),
    )
    floors = (
        FloorRow(name, "below", 0.5, 9, 0.1, 0, 0.3, name, dataset=name),
        FloorRow(name, "absent", 0.5, reason=name),
    )
    return GateReport(rows, (name,), (name,), (name,), 0.02, floors=floors, standings=(Standing(name, 0.5),))
