"""Calls that are made on a borrowed GPU, rehearsed; `make gpu-rehearsal` takes all of them."""

from __future__ import annotations

import pytest

from gpu.rehearsal import main


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_calls_run_on_a_pretended_gpu_and_go_on_after_a_kill(capsys):
    """One of the calls that are alike, and the one with a network of another library; what they leave comes home."""
    assert main(["cifar10", "diffusion"]) == 0

    assert "rehearsed cifar10 (killed once), diffusion in" in capsys.readouterr().out
