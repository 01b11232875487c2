"""A Ray cluster as a run asks for it: what its processes are told before Ray is imported, and how they are found."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

# Addresses of this machine alone.
LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Seconds for a connection.
_CONNECT = 2.0


@dataclass(frozen=True)
class Cluster:
    """The cluster that a run asks for.

    Attributes:
        address: HOST:PORT of a running one, or `auto`; empty for one on this machine that ends with the run.
        tasks: tasks that one on this machine computes at once.
        threads: cores per task.
        gpu: `cuda` where each task takes a GPU of any number, `cuda:N` where it takes this one; else empty.
        secret: known to this run alone: the token of a cluster on this machine, and the mark of its processes.
        folder: a private folder of this machine.
        paths: where Python finds modules.
    """

    address: str
    tasks: int
    threads: int
    gpu: str
    secret: str
    folder: str
    paths: tuple[str, ...]

    @property
    def here(self) -> bool:
        """Return whether it is one on this machine that ends with the run."""
        return not self.address


# The environment variable that marks the processes of a cluster on this machine.
MARK = "BENCH_RAY_CLUSTER"


def detach(cluster: Cluster) -> None:
    """Leave the terminal, which neither Ctrl-C nor a line of Ray's may pass, and set what Ray reads at its import."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log = os.open(str(Path(cluster.folder, "driver.log")), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    # Ray makes the working directory the first place that its workers import from.
    os.chdir(cluster.folder)
    os.environ["PYTHONPATH"] = os.pathsep.join(cluster.paths)
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    if cluster.here or cluster.address.rpartition(":")[0] in LOOPBACK:
        # Else Ray replaces 127.0.0.1 by an address that others reach, and listens on every interface.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    if cluster.here:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": cluster.secret, MARK: cluster.secret}
        os.environ.pop("RAY_AUTH_TOKEN_PATH", None)
    _, named, number = cluster.gpu.partition(":")
    if named:
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        os.environ["CUDA_VISIBLE_DEVICES"] = seen.split(",")[int(number)] if seen else number


def answers(host: str, port: int) -> bool:
    """Return whether something accepts connections there."""
    try:
        socket.create_connection((host, port), _CONNECT).close()
    except OSError:
        return False
    return True


def stop_marked(secret: str) -> None:
    """End what is left of a cluster on this machine: the processes that carry its secret in their environment."""
    mark = f"{MARK}={secret}".encode()
    for folder in Path("/proc").glob("[0-9]*") if sys.platform == "linux" else ():
        with contextlib.suppress(OSError):
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)
