"""`bench doctor` and `bench selftest`: is the installation sound, are the attacks as strong as they were."""

from __future__ import annotations

from pathlib import Path

_MARKS = {"ok": " ok ", "note": "note", "problem": "PROB"}


def doctor(data: Path | None, quick: bool) -> int:
    """Print what was found; 1 when something is a problem."""
    from bench.doctor import examine

    findings = examine(data, quick=quick)
    for finding in findings:
        print(f"[{_MARKS[finding.state]}] {finding.topic}: {finding.text}")
        if finding.state == "problem" and finding.remedy:
            print(f"       mend it: {finding.remedy}")
    return 1 if any(finding.state == "problem" for finding in findings) else 0


def selftest(attacks: str, device: str, jobs: int, golden: Path | None, record: Path | None) -> int:
    """Hold the attacks against their golden verdicts; 1 when one of them became weaker."""
    from bench import selftest
    from bench.cli.progress import Progress
    from bench.executors import pick_device

    device = pick_device(device)
    with Progress() as progress:
        if record is not None:
            print(f"recorded {selftest.record(progress, record, device=device, jobs=jobs)} cells in {record}")
            return 0
        found = selftest.compare(progress, attacks=attacks, device=device, jobs=jobs, golden=golden or selftest.GOLDEN)
    for each in found:
        now = "failed" if each.now is None else f"{100 * each.now:.1f} %"
        mark = "WEAKER" if each.weaker_by else "ok"
        print(f"{mark:7s}{each.title}: golden {100 * each.golden:.1f} % robust, now {now}")
    weaker = sum(each.weaker_by > 0 for each in found)
    print(f"selftest: {weaker} of {len(found)} cells weaker than their golden verdicts")
    return 1 if weaker else 0
