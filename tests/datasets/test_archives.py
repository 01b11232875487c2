"""The archives that datasets are published as."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.datasets.archives import ARCHIVES


@pytest.mark.slow
def test_archives_are_those_of_torchvision() -> None:
    """URL, MD5 and folder of each."""
    from bench import _compat

    datasets = _compat.torchvision().datasets
    cifars = [datasets.CIFAR10, datasets.CIFAR100]
    theirs = [(kind.url, kind.tgz_md5, kind.base_folder, kind.filename) for kind in cifars]
    for size in ("160px", "320px"):
        url, md5 = datasets.Imagenette._ARCHIVES[size]
        theirs.append((url, md5, Path(url).stem, Path(url).name))

    assert [(each.url, each.md5, each.folder, each.file) for each in ARCHIVES.values()] == theirs
