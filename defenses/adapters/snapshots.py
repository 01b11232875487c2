"""Files of the Hugging Face hub, each with the commit it comes from.

A cached file is used without a check for a newer one, so the same command uses the same file until the user
fetches a newer one or names another revision. Only missing files are downloaded, and none while
`HF_HUB_OFFLINE` is set.
"""

from __future__ import annotations

import socket
import sys
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from bench.attacks.adapters.library import imported
from bench.errors import BenchError, one_line

INSTALL = "pip install 'atop-bench[hf]'"


def fetch(repo: str, file: str, revision: str | None) -> tuple[Path, str]:
    """Return a file of a repository, from the cache or else from the network, and its commit.

    Raises:
        BenchError: the file is not in the cache and cannot be fetched.
    """
    hub = imported("huggingface_hub", INSTALL)
    try:
        path = Path(hub.hf_hub_download(repo, file, revision=revision, local_files_only=True))
    except Exception:  # noqa: BLE001  (each release raises others for a file that is not cached)
        path = _downloaded(hub, repo, file, revision)
    return path, _commit(path)


def _downloaded(hub: Any, repo: str, file: str, revision: str | None) -> Path:  # noqa: ANN401  (an untyped module)
    try:
        if not hub.constants.HF_HUB_OFFLINE:
            print(f"fetching {file} of {repo} from the Hugging Face hub", file=sys.stderr)
            _require_network(hub.constants.ENDPOINT)
        return Path(hub.hf_hub_download(repo, file, revision=revision))
    except Exception as error:
        at = f" --revision {revision}" if revision else ""
        reason = one_line(error).partition(". ")[0]
        raise BenchError(
            f"no {file} of {repo} in the cache of the Hugging Face hub, and none fetched ({reason}): "
            f"run 'hf download {repo} {file}{at}' where there is a network"
        ) from error


def _require_network(endpoint: str) -> None:
    """Raise an `OSError` at once if there is no network; the hub's client would try for half a minute."""
    if not urllib.request.getproxies():  # behind a proxy the name need not resolve here
        socket.getaddrinfo(urllib.parse.urlsplit(endpoint).hostname, None)


def _commit(path: Path) -> str:
    """Return the commit in the path of a cached file: `.../snapshots/COMMIT/FILE`."""
    parts = path.parts
    return parts[parts.index("snapshots") + 1] if "snapshots" in parts else ""
