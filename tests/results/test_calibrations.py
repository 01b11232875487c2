"""The sizes and accuracies of other people's networks: complete, and in the units of our threat models."""

from itertools import pairwise

import pytest

from bench.results.calibrations import ATA, STAR
from bench.threats import ThreatModel


def test_the_tables_are_those_of_the_papers():
    """Nine attacks at twenty sizes, and six of six: rising eps, falling accuracy but for noise of training."""
    assert {family: len(sizes) for family, sizes in ATA.items()} == dict.fromkeys(ATA, 6)
    families = {threat.family for threat in STAR}
    assert families == {"Linf", "L2", "L1", "elastic", "jpeg-l1", "jpeg-linf", "recolor", "stadv", "lpips"}
    for family in families:
        sizes = [threat for threat in STAR if threat.family == family]
        values = [STAR[threat] for threat in sorted(sizes, key=lambda threat: threat.eps)]
        assert len(values) == 20
        assert all(later < before + 0.005 for before, later in pairwise(values))
    assert STAR[ThreatModel.parse("L2:0.5")] == pytest.approx(0.6533)
    # StAdv's bound of 0.05 is 0.8 pixels of a CIFAR-10 image.
    assert STAR[ThreatModel.parse("stadv:0.8")] == pytest.approx(0.5740)
    assert ATA["L1"][ThreatModel.parse("L1:1560/255")] == pytest.approx(0.738)
