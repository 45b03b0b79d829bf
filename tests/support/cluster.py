"""A small Ray cluster on this machine, of several nodes, and pools that use it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from keelbill.serving.actor import Build
from keelbill.serving.cluster import ClusterPool
from keelbill.serving.member import Patience
from keelbill.serving.messages import Setup

NODE: dict[str, Any] = {"num_gpus": 0, "object_store_memory": 80 * 2**20, "include_dashboard": False}


class SmallCluster:
    """A head that takes no work, and machines of one processor each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0})
        self._nodes: dict[str, Any] = {}

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def add(self) -> str:
        """Let a machine join and return its id."""
        node = self._cluster.add_node(**NODE, num_cpus=1)
        self._nodes[node.node_id] = node
        return str(node.node_id)

    def kill(self, node_id: str) -> None:
        """Let a machine vanish as if its power had failed."""
        self._cluster.remove_node(self._nodes.pop(node_id), allow_graceful=False)

    def close(self) -> None:
        self._cluster.shutdown()  # type: ignore[no-untyped-call]  # Ray annotates little


@contextmanager
def cluster_of(nodes: int) -> Iterator[SmallCluster]:
    """Start a cluster of a head and so many machines."""
    pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
            "RAY_DISABLE_MEMORY_MONITOR": "1",
            "RAY_memory_monitor_refresh_ms": "0",
            "PYTHONWARNINGS": "",
            "OMP_NUM_THREADS": "1",
        }.items():
            patch.setenv(name, value)
        patch.delenv("RAY_ADDRESS", raising=False)
        os.environ.pop("PYTEST_CURRENT_TEST", None)
        cluster = SmallCluster()
        try:
            for _ in range(nodes):
                cluster.add()
            yield cluster
        finally:
            cluster.close()


def mini_cluster_pool(
    address: str, *, build: Build | None = None, jobs: int = 4, patience: Patience | None = None
) -> ClusterPool:
    """Make a pool of actors that paint with the embedded model on the processor."""
    template = Setup(name="", home="", blobs="", model="keelbill-mini", device="cpu", jobs=jobs, beat_s=0.5)

    def read(ref: str) -> bytes:
        raise FileNotFoundError(ref)

    return ClusterPool(template, read, address, build=build, patience=patience)
