"""In several processes: one that dies takes its cell with it and no other."""

import pytest

from bench.results.outcome import Done, Failed
from tests.harness.toy import DEFENSE, PROCESSES, fill


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "toy.py"
    path.write_text(DEFENSE)
    return path


@pytest.mark.fault("F16")
def test_a_dying_worker_fails_its_cell_and_no_other(tmp_path, source):
    results, *_ = fill(tmp_path / "r", PROCESSES, f"{source}:fatal", f"{source}:build")

    outcomes = {result.cell.defense.label: type(result.outcome) for result in results}
    assert outcomes == {"toy:fatal": Failed, "toy": Done}
    (failed,) = {result.outcome.error for result in results if isinstance(result.outcome, Failed)}
    assert failed == "it ended its process with status 9"
