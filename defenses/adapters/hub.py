"""Networks from the Hugging Face hub: a file of weights for a network of timm or torchvision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.defenses.adapters import normalization, snapshots
from bench.defenses.adapters.torchvision import other_size
from bench.defenses.adapters.wanted import Found, Wanted
from bench.errors import BenchError
from bench.machine.reading import MOST_SETTINGS, json_of, require_modest

_FILE = "model.safetensors"  # the name in timm's own uploads


def find(wanted: Wanted) -> Found:
    """Find the weights of a repository, and the settings in its `config.json` that the parameters leave open.

    That file has the format of timm's own uploads: `architecture` is a network of timm, and
    `pretrained_cfg` holds mean, standard deviation and size of the images.
    """
    repo, label = wanted.name, f"hf:{wanted.name}"
    if repo.count("/") != 1:
        raise BenchError(f"{label} is no repository of the Hugging Face hub: write hf:OWNER/REPO")
    revision = wanted.parameters.get("revision")
    file = wanted.parameters.get("file", _FILE)
    path, commit = snapshots.fetch(repo, file, revision)
    arch = wanted.parameters.get("arch")
    # Both files come from the same commit, even if the branch moves in between.
    told = {} if arch else _told(repo, commit or revision)
    arch = arch or f"timm:{told['architecture']}"
    norm = normalization.settled(wanted.parameters, _normalization(told), wanted.spec.shape[0], label)
    size = told.get("pretrained_cfg", {}).get("input_size", (0,))[-1]
    config = {"arch": arch, "repo": repo, "revision": commit, "file": file, **norm}
    return Found({file: path}, config, notes=other_size(size, wanted.spec))


def facts(name: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """Return the file, the address and the network of a repository, without any access to it."""
    return {
        "file": parameters.get("file", _FILE),
        "from": f"https://huggingface.co/{name}",
        "network": parameters.get("arch", "as config.json of the repository says"),
    }


def _told(repo: str, revision: str | None) -> dict[str, Any]:
    path, _ = snapshots.fetch(repo, "config.json", revision)
    require_modest(path, MOST_SETTINGS, "config.json")
    try:
        told = json_of(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        told = None
    if not isinstance(told, dict) or not isinstance(told.get("architecture"), str):
        raise BenchError(f"hf:{repo}: its config.json names no architecture: name one, [arch=timm:NAME]")
    return told


def _normalization(told: Mapping[str, Any]) -> dict[str, str] | None:
    known = told.get("pretrained_cfg", {})
    if not known.get("mean") or not known.get("std"):
        return None
    return {"mean": normalization.written(known["mean"]), "std": normalization.written(known["std"])}
