"""The process that talks to Ray: it joins or starts the cluster, submits tasks, and tells the run what becomes of them.

It is a process of its own, because Ray takes over the one that it is imported in: it prints to its output, replaces its
handlers of signals, waits for minutes where a cluster is gone, and ends it where it sees no way out.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import shutil
import threading
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from bench.datasets.examples import Examples
from bench.errors import BenchError, one_line
from bench.harness.executors.ray_cluster import LOOPBACK, Cluster, answers, detach
from bench.harness.executors.ray_node import Message, Order, entrance, fingerprint
from bench.harness.executors.shipping import content
from bench.harness.task import Cause

# Seconds between two looks at the nodes, and that one wait for Ray may take.
_BETWEEN_LOOKS, _WAIT = 1.0, 0.05
# So often in a row a cluster on this machine, or one of others that may restart its head, is silent before it is gone.
_SILENT_HERE, _SILENT_THERE = 3, 20
# Seconds for what is left on the nodes to be removed.
_SWEEP = 5.0


def conduct(pipe: Connection, cluster: Cluster) -> None:
    """Serve a run: receive `images`, `task`, `cancel` and `stop`, and send what becomes of the tasks.

    Sent are `("slots", n)`, `("began", id)`, `("passed", id, n)`, `("ended", id, report)`, `("say", text)` and, as the
    last, `("fatal", text)`.
    """
    detach(cluster)
    try:
        Driver(pipe, cluster).run()
    except BenchError as error:
        _send(pipe, ("fatal", str(error)))
    except Exception as error:  # noqa: BLE001  (the run says it in one line)
        _send(pipe, ("fatal", f"Ray failed: {one_line(error)}"))
    pipe.close()
    os._exit(0)  # nothing of Ray's may keep this process


def _send(pipe: Connection, message: Message) -> None:
    with contextlib.suppress(OSError):
        pipe.send(message)


@dataclass
class Driver:
    """The loop of the process.

    Attributes:
        pipe: to the run.
        cluster: to be used.
    """

    pipe: Connection
    cluster: Cluster
    _ray: Any = field(init=False, default=None)
    _enter: Any = field(init=False, default=None)
    _orders: queue.SimpleQueue[Message] = field(init=False, default_factory=queue.SimpleQueue)
    _images: dict[str, Any] = field(init=False, default_factory=dict)
    _files: dict[str, Any] = field(init=False, default_factory=dict)
    # By generator of Ray: the number of the task and its order.
    _running: dict[Any, tuple[int, Order]] = field(init=False, default_factory=dict)
    _strange: set[str] = field(init=False, default_factory=set)
    _slots: int = field(init=False, default=0)
    _looked: float = field(init=False, default=0.0)
    _silent: int = field(init=False, default=0)
    _alone: bool = field(init=False, default=False)  # whether the run is gone
    _doors: tuple[tuple[str, int], ...] = field(init=False, default=())

    def run(self) -> None:
        self._connect()
        # A thread reads, so that neither end waits for the other to read.
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self._look()
            while self._heed():
                if time.monotonic() - self._looked >= _BETWEEN_LOOKS:
                    self._look()
                self._listen()
        finally:
            self._leave()

    def _connect(self) -> None:
        import ray

        self._ray = ray
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        if self.cluster.here:
            ray.init(
                address="local",
                num_cpus=self.cluster.tasks * self.cluster.threads,
                num_gpus=self.cluster.tasks if self.cluster.gpu else 0,
                include_dashboard=False,
                dashboard_host="127.0.0.1",
                _node_ip_address="127.0.0.1",
                _temp_dir=self.cluster.folder,
                **quiet,
            )
        else:
            try:
                ray.init(address=self.cluster.address, **quiet)
            except (ConnectionError, RuntimeError) as error:
                remedy = (
                    "run this on a node of it, and set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN if it asks for a token"
                )
                raise BenchError(
                    f"the Ray cluster at {self.cluster.address} takes no jobs from here: {remedy}"
                ) from error
        context = ray.get_runtime_context()
        mine = next(node for node in ray.nodes() if node["NodeID"] == context.get_node_id())
        host, _, port = context.gcs_address.rpartition(":")
        self._doors = ((host, int(port)), (mine["NodeManagerAddress"], mine["NodeManagerPort"]))
        if self.cluster.here and any(door not in LOOPBACK for door, _ in self._doors):
            raise BenchError(f"this Ray {ray.__version__} would listen on {self._doors[0][0]}: give a newer one")
        self._enter = ray.remote(entrance())

    def _read(self) -> None:
        try:
            while True:
                self._orders.put(self.pipe.recv())
        except (EOFError, OSError):
            self._orders.put(("orphaned",))

    def _heed(self) -> bool:
        """Do what the run has asked for since the last time; return whether it goes on."""
        while True:
            try:
                # Without tasks there is nothing else to wait for.
                order = self._orders.get(block=not self._running, timeout=_WAIT * 4)
            except queue.Empty:
                return True
            what, *more = order
            if what in ("stop", "orphaned"):
                self._alone = what == "orphaned"
                return False
            if what == "images":
                examples: Examples = more[0]
                self._images[examples.digest] = self._put(examples)
            elif what == "task":
                self._submit(*more)
            elif what == "cancel":
                self._cancel(more[0])

    def _submit(self, number: int, order: Order) -> None:
        guest = order.task.guest
        options: dict[str, Any] = {}
        if guest:
            # Ray keeps a worker to tasks of one environment, so the code of a user meets no other.
            options["runtime_env"] = {"env_vars": {"BENCH_GUEST": guest.encode().hex()}}
        if self._strange:
            options["label_selector"] = {"ray.io/node-id": f"!in({','.join(sorted(self._strange))})"}
        files = {}
        for tree in order.trees.values():
            for name, sha in tree.files:
                if sha not in self._files:
                    self._files[sha] = self._put(content(tree, name))
                # In a list: Ray fetches an argument that is a reference itself, wanted or not.
                files[sha] = [self._files[sha]]
        task = self._enter.options(
            num_cpus=self.cluster.threads,
            num_gpus=1 if self.cluster.gpu else 0,
            max_retries=0,  # the run counts attempts
            num_returns="streaming",
            **options,
        )
        wanted, parcel = fingerprint(order.task.cell), pickle.dumps(order)
        generator = task.remote(wanted, parcel, [self._images[order.images]], files, self._private)
        self._running[generator] = (number, order)

    @property
    def _private(self) -> str:
        return f"atop-bench-{self.cluster.secret[:16]}"

    def _put(self, what: object) -> Any:  # noqa: ANN401  (a reference of Ray's)
        from ray import exceptions

        try:
            return self._ray.put(what)
        except (exceptions.ObjectStoreFullError, exceptions.OutOfDiskError) as error:
            raise BenchError(_FULL) from error

    def _cancel(self, number: int) -> None:
        for generator, (other, _) in self._running.items():
            if other == number:
                self._ray.cancel(generator, force=True)

    def _look(self) -> None:
        """Look at the nodes: is the cluster there, and how many tasks can it compute at once?"""
        self._looked = time.monotonic()
        for host, port in self._doors:
            if not answers(host, port):
                self._silent += 1
                if self._gone:
                    raise BenchError(f"the Ray cluster at {host}:{port} does not answer any more: {_RESUME}")
                return
        self._silent = 0
        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        fitting = [node for node in nodes if node["NodeID"] not in self._strange]
        if nodes and not fitting:
            raise BenchError("no node of the Ray cluster has the code of this run: install the same versions there")
        slots = sum(self._room(node["Resources"]) for node in fitting)
        if not slots and not self._running:
            lack = "a GPU" if self.cluster.gpu else f"{self.cluster.threads} CPUs"
            raise BenchError(f"no node of the Ray cluster has {lack}: add one, or give another --device or --jobs")
        if slots != self._slots:
            self._slots = slots
            _send(self.pipe, ("slots", slots))

    @property
    def _gone(self) -> bool:
        return self._silent >= (_SILENT_HERE if self.cluster.here else _SILENT_THERE)

    def _room(self, resources: dict[str, float]) -> int:
        room = int(resources.get("CPU", 0) // self.cluster.threads)
        return min(room, int(resources.get("GPU", 0))) if self.cluster.gpu else room

    def _listen(self) -> None:
        """Receive what tasks say, for a moment."""
        if not self._running:
            return
        ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=_WAIT, fetch_local=False)
        for generator in ready:
            number, order = self._running[generator]
            try:
                said = self._ray.get(next(generator))
            except StopIteration:
                said = _lost("the worker ended without a word")
            except Exception as error:  # noqa: BLE001  (Ray raises what became of the task)
                said = _failure(error)
            if said[0] == "differs":
                del self._running[generator]
                self._pass_over(*said[1:])
                self._submit(number, order)
                continue
            if said[0] == "ended":
                del self._running[generator]
            _send(self.pipe, (said[0], number, *said[1:]))

    def _pass_over(self, node: str, why: str) -> None:
        """Give no further task to a node, and say why."""
        if node in self._strange:
            return
        self._strange.add(node)
        name = next((each["NodeName"] for each in self._ray.nodes() if each["NodeID"] == node), node[:8])
        _send(self.pipe, ("say", f"note: node {name} of the Ray cluster gets no task: {why}"))
        self._look()

    def _leave(self) -> None:
        """End what is running; a cluster of others stays."""
        with contextlib.suppress(Exception):
            for generator in self._running:
                self._ray.cancel(generator, force=True)
        if not self._gone:
            with contextlib.suppress(Exception):
                self._sweep()
            with contextlib.suppress(Exception):
                self._ray.shutdown()
        if self._alone:
            shutil.rmtree(self.cluster.folder, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove the files of this run from the nodes."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        if not self._files:
            return

        def remove(name: str) -> None:
            import pathlib
            import shutil
            import tempfile

            shutil.rmtree(pathlib.Path(tempfile.gettempdir(), name), ignore_errors=True)

        sweep = self._ray.remote(remove)
        nodes = [node["NodeID"] for node in self._ray.nodes() if node["Alive"]]
        placed = [
            sweep.options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))
            for node in nodes
        ]
        self._ray.wait([each.remote(self._private) for each in placed], num_returns=len(placed), timeout=_SWEEP)


_RESUME = "what is finished is stored, and the same command computes the rest, with any --executor"
_FULL = f"Ray has no room left for the images, in memory or on the disk: {_RESUME}"


def _lost(why: str, cause: Cause = Cause.LOST) -> Message:
    return ("ended", (None, why, 0.0, None, cause))


def _failure(error: Exception) -> Message:
    """Return what a task says whose end Ray reports.

    Raises:
        BenchError: it is no fault of the task, and every other would end so, too.
    """
    from ray import exceptions

    if isinstance(error, exceptions.OutOfDiskError | exceptions.ObjectStoreFullError):
        raise BenchError(_FULL) from error
    if isinstance(error, exceptions.OutOfMemoryError):
        return _lost("out of memory: Ray ended the worker", Cause.KILLED)
    if isinstance(error, exceptions.RayTaskError):
        return ("ended", (None, one_line(error.cause if isinstance(error.cause, Exception) else error), 0.0, None))
    if isinstance(error, exceptions.RuntimeEnvSetupError):
        return _lost(f"Ray starts no worker for it: {one_line(error)}")
    if isinstance(error, exceptions.NodeDiedError | exceptions.ObjectLostError | exceptions.TaskUnschedulableError):
        return _lost("its node of the Ray cluster was lost")
    return _lost("the worker process died")
