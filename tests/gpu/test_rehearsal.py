"""All calls that are made on a borrowed GPU, rehearsed."""

from __future__ import annotations

import pytest

from gpu.rehearsal import main


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_call_runs_on_a_pretended_gpu_and_goes_on_after_a_kill(capsys):
    """`make gpu-rehearsal`: measure, CIFAR-10 (killed once) and the other studies; what they leave comes home."""
    assert main([]) == 0

    assert "rehearsed measure, cifar10 (killed once), cifar100, imagenette, diffusion" in capsys.readouterr().out
