"""A Ray cluster that somebody else started: joined, used and left as it was. By Ray's public functions alone."""

import logging
import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any

import psutil  # type: ignore[import-untyped]
import ray
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from rft.actors.placement import Node, Part, Placement, place_number, place_processes
from rft.errors import ClusterError
from rft.recipe import Recipe

NAMESPACE = "rft-"
"""Of the actors of one run on a cluster that it joined; by it all its processes know where they are."""

PLACES = "places"
"""Name of the run's placement group in its namespace."""

CARRIED = ("NCCL_", "GLOO_", "HF_HUB_OFFLINE", "HF_HOME")
"""Beginnings of the names of variables that all processes have from the one that starts the run."""

RESERVE_TIMEOUT_S = 60.0
"""Longest time until the cluster has given the run its places, while others may leave theirs."""

INTERFACE_VARIABLES = ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME")


@contextmanager
def joined(
    address: str,
    variables: Mapping[str, str],
    runtime_env: Mapping[str, Any],
    init: Callable[..., Any] = ray.init,
) -> Iterator[None]:
    """The cluster at `address`, for as long as the block runs. Afterwards the run's processes and places are gone, and
    the cluster goes on.

    `variables`: environment of the run's processes; `runtime_env`: as of the recipe, laid over it. ClusterError: it
    cannot be reached.
    """
    carried = {name: value for name, value in os.environ.items() if name.startswith(CARRIED)}
    told = {**variables, **carried, **runtime_env.get("env_vars", {})}
    try:
        with kept_sigterm():
            init(
                address=address,
                namespace=f"{NAMESPACE}{uuid.uuid4().hex}",
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={**runtime_env, "env_vars": {name: str(value) for name, value in told.items()}},
            )
    except Exception as error:
        raise ClusterError(
            f"the Ray cluster at {address} cannot be joined: {type(error).__name__}: {str(error).strip()}\n"
            "Give cluster.address (or RAY_ADDRESS) as `ray start --head` tells it, from a machine of the cluster; "
            "cluster.address=local starts Ray on this machine alone."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()  # of a cluster that was joined it takes leave


@contextmanager
def kept_sigterm() -> Iterator[None]:
    """Ray takes SIGTERM to itself and exits at once; after the block it is with who had it, and can end a run."""
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and on_sigterm is not None:
            signal.signal(signal.SIGTERM, on_sigterm)


def is_joined() -> bool:
    """Whether this process belongs to a run on a cluster that it joined."""
    return bool(ray.is_initialized()) and str(ray.get_runtime_context().namespace).startswith(NAMESPACE)


def reserve_places(recipe: Recipe, num_ranks: int) -> Placement:
    """Places for the recipe's engines, `num_ranks` learning processes and its judge, held until the run ends.

    ClusterError: they do not fit, or others hold what they need.
    """
    placement = place_processes(recipe, num_ranks, cluster_nodes())
    unit = "GPU" if placement.on_gpus else "CPU"
    group = ray.util.placement_group(
        [{unit: place.size} for place in placement.places],
        name=PLACES,
        bundle_label_selector=[{"ray.io/node-id": place.node.node_id} for place in placement.places],
    )
    if not group.wait(RESERVE_TIMEOUT_S):
        needed = sum(place.size for place in placement.places)
        raise ClusterError(
            f"the cluster has not given the run its {needed} {unit}s in {RESERVE_TIMEOUT_S:g} s: others hold them, and "
            f"{ray.available_resources().get(unit, 0):g} are free. Wait for them (ray status), or ask for fewer."
        )
    return placement


def cluster_nodes() -> list[Node]:
    """The nodes that are alive."""
    return [
        Node(
            node["NodeID"],
            f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})",
            int(node["Resources"].get("GPU", 0)),
            int(node["Resources"].get("CPU", 0)),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


def reserved(recipe: Recipe, part: Part, number: int) -> dict[str, Any]:
    """What ray.remote is told of the place of a process. ClusterError: its node has left the cluster."""
    group = ray.util.get_placement_group(PLACES)
    place = place_number(recipe, part, number)
    node_id = ray.util.placement_group_table(group)["bundles_to_node_id"].get(place)
    if node_id not in {node.node_id for node in cluster_nodes()}:
        raise ClusterError(
            f"the node of {part} {number} has left the cluster. Continue with --resume: it gives the run new places."
        )
    num_gpus = float(group.bundle_specs[place].get("GPU", 0))
    shared = recipe.rollout.share_gpu and part != "judge"
    return {
        "num_gpus": num_gpus / 2 if shared else num_gpus,
        "scheduling_strategy": PlacementGroupSchedulingStrategy(group, place),
    }


def use_own_interface(environment: MutableMapping[str, str] = os.environ) -> None:
    """Have NCCL and gloo reach other nodes by the network interface that Ray does, where the user names none."""
    if not is_joined():
        return
    addresses = {name: [one.address for one in of] for name, of in psutil.net_if_addrs().items()}
    interface = interface_of(ray.util.get_node_ip_address(), addresses)
    for variable in INTERFACE_VARIABLES if interface else ():
        environment.setdefault(variable, str(interface))


def interface_of(address: str, interfaces: Mapping[str, Sequence[str]]) -> str | None:
    """The name of the interface that has this address; None: none has."""
    return next((name for name, addresses in interfaces.items() if address in addresses), None)
