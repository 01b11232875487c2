"""Controls of a ladder: computed once, whoever asks."""

from __future__ import annotations

from pathlib import Path

from bench.cli import main


def bench(*words):
    return main([str(word) for word in words])


def test_a_control_that_a_check_needs_too_is_computed_once(tmp_path, monkeypatch, capsys):
    """The undefended base stands beside the ladder, and check A11 compares with it."""
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(
        "defenses = 'ap'\nthreat = 'Linf:0.2'\nn = 16\nbeside = ['base']\n"
        "[[rungs]]\nname = 'one step'\nattack = 'fgsm'\n[[rungs]]\nname = 'many'\nattack = 'pgd-20'\n"
    )

    status = bench("run", "--study", "mine.toml", "--executor", "local", "--checks", "all")

    assert status == 0
    assert "undefended base" in capsys.readouterr().out
    assert len(list(Path("bench-results/checks").rglob("ap+base/*.json"))) == 1
