"""`bench report`: the page, its path and size, and an exit status that a script notices."""

from dataclasses import replace

import pytest

from bench import api
from bench.cli import main
from bench.results.cell import Planned

RUN = ["--defenses", "standard", "--attacks", "fgsm", "--threat", "Linf:0.2", "--n", "8", "--checks", "none"]


@pytest.mark.slow
def test_the_command_writes_the_page_and_prints_where(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", *RUN]) == 0
    capsys.readouterr()

    assert main(["report", "--html", "report.html"]) == 0

    size = (tmp_path / "report.html").stat().st_size
    assert capsys.readouterr().out == f"report  report.html  ({size / 1e6:.1f} MB)\n"
    assert main(["report", "--html", "none.html", "--defenses", "nobody"]) == 2
    assert main(["report"]) == 2
    assert not (tmp_path / "none.html").exists()


@pytest.mark.slow
def test_a_page_with_holes_exits_with_3(tmp_path, monkeypatch):
    """A failed cell is on the page as FAIL, and the status says so."""
    monkeypatch.chdir(tmp_path)
    assert main(["run", *RUN]) == 0
    done = api.load("bench-results")
    broken = replace(done[0].cell, attack=replace(done[0].cell.attack, label="other", digest="other"))
    done.store.ask([Planned(broken)])
    done.store.fail(broken, "RuntimeError: it broke")

    assert main(["report", "--html", "report.html"]) == 3

    page = (tmp_path / "report.html").read_text()
    assert ">FAIL<" in page
    assert "RuntimeError: it broke" in page
