"""Waits until a Ray cluster has so many nodes: `python wait_for_nodes.py HOST:PORT 4`."""

import sys
import time

import ray

GIVE_UP_S = 600


def main(address: str, num_nodes: int) -> None:
    until = time.monotonic() + GIVE_UP_S
    while time.monotonic() < until:
        try:
            if not ray.is_initialized():
                ray.init(address=address, logging_level="ERROR")
            if sum(node["Alive"] for node in ray.nodes()) >= num_nodes:
                return
        except ConnectionError:  # its first node is still starting
            pass
        time.sleep(2)
    sys.exit(f"{address}: not {num_nodes} nodes in {GIVE_UP_S} s")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
