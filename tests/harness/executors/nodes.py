"""A Ray cluster of several nodes on this machine's loopback, in a process of its own: `Nodes`.

Ray replaces handlers of signals and prints; nothing of it is imported into the process of the tests.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__)
STORE = 80 << 20  # bytes for objects on each node, the least that Ray takes
MARK = "BENCH_TEST_NODES"


class Nodes:
    """Two nodes of one CPU each; `address` is what --ray-address takes."""

    def __init__(self):
        self.store = STORE
        self.folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
        self.secret = secrets.token_hex(32)
        roots = [path for path in sys.path if path]
        self.environment = {
            **os.environ,
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # loopback alone
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.secret,
            "RAY_TMPDIR": self.folder,
            "PYTHONPATH": os.pathsep.join(roots),
            MARK: self.secret,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(HERE)],
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.address, self.raylets = self._answer()

    def _answer(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                told = json.loads(line)
                return told["address"], told["raylets"]
        raise AssertionError("the cluster did not start")

    def ask(self, what):
        """`add`, `add FOLDER` (whose modules come first there), or `remove PID`; the raylets' pids come back."""
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        self.raylets = self._answer()[1]
        return self.raylets

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(30)
        finally:
            self.process.kill()
            for pid in marked(f"{MARK}={self.secret}"):
                os.kill(pid, 9)
            self.process.stdout.close()
            shutil.rmtree(self.folder, ignore_errors=True)


def marked(variable):
    """The processes that have a variable in their environment, without those that have ended."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if variable.encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def serve():
    from ray.cluster_utils import Cluster

    here = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": STORE}
    cluster = Cluster(initialize_head=True, head_node_args={**here, "include_dashboard": False})
    path = os.environ["PYTHONPATH"]

    def pid(node):
        return node.all_processes["raylet"][0].process.pid

    def tell():
        nodes = [cluster.head_node, *sorted(cluster.worker_nodes, key=pid)]
        print(json.dumps({"address": cluster.address, "raylets": [pid(node) for node in nodes]}), flush=True)

    cluster.add_node(**here)
    tell()
    for line in sys.stdin:
        what, _, rest = line.strip().partition(" ")
        if what == "add":
            os.environ["PYTHONPATH"] = os.pathsep.join([rest, path] if rest else [path])
            cluster.add_node(**here)
        else:
            gone = next(node for node in cluster.worker_nodes if pid(node) == int(rest))
            cluster.remove_node(gone, allow_graceful=False)
        tell()
    cluster.shutdown()


if __name__ == "__main__":
    serve()
