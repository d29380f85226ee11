"""What would go where: on nodes given by number, and on the recipe's Ray cluster as it is now."""

from collections.abc import Sequence

from rft.actors.placement import Node, place_processes
from rft.errors import ClusterError
from rft.recipe import Recipe
from rft.tables import plain


def placement_lines(recipe: Recipe, gpus_per_node: Sequence[int]) -> list[tuple[str, str]]:
    """Lines of the plan of `rft check`, one per node; none for a single machine, whose GPUs are counted elsewhere."""
    if len(gpus_per_node) < 2:
        return []
    width = len(str(len(gpus_per_node)))
    nodes = [Node("", f"node {number:0{width}}", gpus, 0) for number, gpus in enumerate(gpus_per_node, start=1)]
    try:
        table = place_processes(recipe, recipe.learner.num_ranks, nodes).table()
    except ClusterError as error:
        return [("placement", str(error))]
    kinds = table.columns[2:]
    lines = []
    for name, taken, *numbers in table.rows:
        parts = [f"{kind} {of_kind}" for kind, of_kind in zip(kinds, numbers, strict=True) if of_kind != "-"]
        lines.append((name, f"{taken} GPUs: {', '.join(parts) or 'nothing'}"))
    return lines


def cluster_text(recipe: Recipe) -> str:
    """The table of the recipe's cluster, whose nodes are compared too. ClusterError: as at the start of a run."""
    from rft.actors.cluster import join
    from rft.actors.joined import reserve_places
    from rft.actors.nodes import check_nodes

    with join(recipe.cluster):
        placement = reserve_places(recipe, recipe.learner.num_ranks)
        check_nodes(recipe, placement, None)
        return plain(placement.table())
