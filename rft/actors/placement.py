"""Where the processes of a run go on a cluster: engines whole on a node, learning processes on as few as can be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rft.errors import ClusterError
from rft.recipe import Recipe
from rft.tables import TextTable

Part = Literal["engine", "rank", "judge"]
"""Kinds of processes that get a place."""

TITLES: Mapping[Part, str] = {"engine": "engines", "rank": "learning processes", "judge": "judge"}


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the cluster."""

    node_id: str
    name: str
    gpus: int
    cpus: int


@dataclass(frozen=True, slots=True)
class Place:
    """GPUs of one node that a process gets, or two that share one; cores on a cluster without GPUs."""

    node: Node
    size: int
    """Number of GPUs, or cores."""
    parts: tuple[str, ...]
    """Such as ("engine 0",), or ("engine 0", "rank 0") where they share a GPU."""


@dataclass(frozen=True, slots=True)
class Placement:
    """All processes of a run on their nodes."""

    nodes: tuple[Node, ...]
    """Of the cluster, in the order of their names."""
    places: tuple[Place, ...]
    """In the order of `place_number`."""
    on_gpus: bool

    def nodes_of(self, *kinds: Part) -> set[Node]:
        """Nodes that hold a process of one of these kinds."""
        return {place.node for place in self.places if any(part.split()[0] in kinds for part in place.parts)}

    def table(self) -> TextTable:
        rows = []
        for node in self.nodes:
            here = [place for place in self.places if place.node == node]
            parts = [part for place in here for part in place.parts]
            taken = f"{sum(place.size for place in here)} of {_slots(node, self.on_gpus)}"
            rows.append((node.name, taken, *(_numbers(parts, kind) for kind in TITLES)))
        return TextTable("Placement", ("node", _unit(self.on_gpus), *TITLES.values()), tuple(rows))


def place_number(recipe: Recipe, part: Part, number: int) -> int:
    """Index in `Placement.places` of engine, rank or judge number `number`."""
    num_engines, num_ranks = recipe.rollout.num_workers, recipe.learner.num_ranks
    if recipe.rollout.share_gpu:
        return max(num_engines, num_ranks) if part == "judge" else number
    before = {"engine": 0, "rank": num_engines, "judge": num_engines + num_ranks}
    return before[part] + number


def place_processes(recipe: Recipe, num_ranks: int, nodes: Sequence[Node]) -> Placement:
    """The recipe's engines, `num_ranks` learning processes and, with these, its judge, on the nodes.

    Learning processes of one replica share a node. The kind of the largest processes comes first; of a kind, all go to
    the fullest node that holds them, else to the emptiest nodes first.
    ClusterError: they do not fit.
    """
    nodes = tuple(sorted(nodes, key=lambda node: (node.name, node.node_id)))
    on_gpus = any(node.gpus for node in nodes)
    wanted = _wanted(recipe, num_ranks, on_gpus)
    free = [_slots(node, on_gpus) for node in nodes]
    given: dict[int, Node] = {}
    kinds: dict[str, list[int]] = {}
    for number, (_, parts) in enumerate(wanted):
        kinds.setdefault(parts[-1].split()[0], []).append(number)
    for waiting in sorted(kinds.values(), key=lambda numbers: -wanted[numbers[0]][0]):
        size, parts = wanted[waiting[0]]
        replicas = recipe.learner.num_replicas
        block = num_ranks // replicas if replicas > 1 and parts[-1].startswith("rank") else 1
        while waiting:
            index = _next_node(free, size * block, len(waiting) // block)
            if index is None:
                raise ClusterError(_problem(wanted, waiting, nodes, on_gpus))
            here = waiting[: free[index] // (size * block) * block]
            given |= dict.fromkeys(here, nodes[index])
            free[index] -= size * len(here)
            waiting = waiting[len(here) :]
    places = tuple(Place(given[number], *each) for number, each in enumerate(wanted))
    return Placement(nodes, places, on_gpus)


def _wanted(recipe: Recipe, num_ranks: int, on_gpus: bool) -> list[tuple[int, tuple[str, ...]]]:
    """(size, parts) in the order of `place_number`."""
    engines = [f"engine {number}" for number in range(recipe.rollout.num_workers)]
    ranks = [f"rank {number}" for number in range(num_ranks)]
    size = recipe.rollout.gpus_per_worker if on_gpus else 1
    if recipe.rollout.share_gpu:
        wanted = [(1, (*engines[i : i + 1], *ranks[i : i + 1])) for i in range(max(len(engines), len(ranks)))]
    else:
        wanted = [*((size, (name,)) for name in engines), *((1, (name,)) for name in ranks)]
    if recipe.judge and num_ranks:
        wanted.append((recipe.judge.gpus if on_gpus else 1, ("judge 0",)))
    return wanted


def _next_node(free: Sequence[int], size: int, count: int) -> int | None:
    """The node that takes the next of `count` processes of `size`; None: none has room for one."""
    indices = range(len(free))
    holds_all = [index for index in indices if free[index] // size >= count]
    if holds_all:
        return min(holds_all, key=lambda index: free[index])
    emptiest = max(indices, key=lambda index: free[index] // size, default=None)
    return emptiest if emptiest is not None and free[emptiest] >= size else None


def _problem(
    wanted: Sequence[tuple[int, tuple[str, ...]]], waiting: Sequence[int], nodes: Sequence[Node], on_gpus: bool
) -> str:
    size, parts = wanted[waiting[0]]
    unit, more = _unit(on_gpus), f" and {len(waiting) - 1} more" if len(waiting) > 1 else ""
    there = ", ".join(f"{node.name} {_slots(node, on_gpus)}" for node in nodes) or "no node"
    return (
        f"the run does not fit on the cluster: no node has {size} {unit} left for {' and '.join(parts)}{more}. "
        f"{sum(size for size, _ in wanted)} {unit} are needed, those of a process on one node, and there are: {there}. "
        "Add nodes, or lower rollout.num_workers, rollout.gpus_per_worker or learner.num_ranks."
    )


def _unit(on_gpus: bool) -> str:
    return "GPUs" if on_gpus else "cores"


def _slots(node: Node, on_gpus: bool) -> int:
    return node.gpus if on_gpus else node.cpus


def _numbers(parts: Sequence[str], kind: Part) -> str:
    """Numbers of one kind, such as 0-3, 6; "-" where there is none."""
    numbers = [int(part.split()[1]) for part in parts if part.split()[0] == kind]
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts = [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    return ", ".join(texts) or "-"
