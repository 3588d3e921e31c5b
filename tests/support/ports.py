"""Free ports for the services of the test processes that run side by side: none gets one that belongs to another."""

from __future__ import annotations

from mlsdk.local import ports


def share_out(worker: str, workers: str) -> None:
    """Leave this process its part of all ports, given its name (`gw0`, `gw1`, ...) and how many there are."""
    number, count = int(worker.removeprefix("gw")), int(workers)
    # By pairs: Linux gives sockets that listen every other port only.
    ports.given.update(port for port in range(65536) if (port // 2) % count != number % count)
