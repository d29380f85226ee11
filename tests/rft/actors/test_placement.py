"""Which process goes to which node."""

import pytest

from rft.actors.placement import Node, Part, place_number, place_processes
from rft.commands.check.placement import placement_lines
from rft.errors import ClusterError
from rft.recipe import Recipe
from rft.tables import plain


def recipe_of(
    engines: int = 1, size: int = 1, ranks: int = 1, judge: int = 0, replicas: int = 1, *, shared: bool = False
) -> Recipe:
    keys = {
        "model": "m",
        "tasks": {},
        "data": {"train": []},
        "steps": 1,
        "rollout": {"num_workers": engines, "gpus_per_worker": size, "share_gpu": shared},
        "learner": {"num_ranks": ranks, "num_replicas": replicas},
        "judge": {"model": "j", "gpus": judge} if judge else None,
    }
    return Recipe.model_validate(keys)


def nodes_of(*gpus: int, cpus: int = 4) -> list[Node]:
    """Node 0, 1, ... with so many GPUs each."""
    return [Node(f"id{number}", f"node{number}", count, cpus) for number, count in enumerate(gpus)]


@pytest.mark.parametrize(
    ("recipe", "gpus", "places"),
    [
        # All on the fullest node that holds them, so that they are near each other.
        (recipe_of(4, ranks=4), (8, 8), "0000 0000"),
        (recipe_of(4, ranks=8), (8, 8), "0000 11111111"),
        (recipe_of(1, ranks=2), (8, 3), "1 11"),
        # Engines stay whole, what is left between them is for learning processes.
        (recipe_of(2, 4, ranks=3), (6, 6, 2), "01 001"),
        (recipe_of(2, 2, ranks=4), (8, 0, 8), "00 0000"),
        # A learning process goes where most of them fit, the next ones beside it.
        (recipe_of(6, ranks=10), (8, 8), "000000 1111111100"),
        (recipe_of(2, ranks=1, judge=4), (4, 4), "11 1 0"),
        # The processes of a replica stay together.
        (recipe_of(1, ranks=6, replicas=2), (4, 4), "0 000111"),
        (recipe_of(4, ranks=4, replicas=2, shared=True), (3, 3), "0011"),
        # Pairs.
        (recipe_of(6, ranks=6, shared=True), (4, 4), "000011"),
        (recipe_of(2, ranks=4, judge=2, shared=True), (4, 2), "0000 1"),
    ],
)
def test_places(recipe: Recipe, gpus: tuple[int, ...], places: str) -> None:
    placed = place_processes(recipe, recipe.learner.num_ranks, nodes_of(*gpus))
    assert "".join(place.node.name.removeprefix("node") for place in placed.places) == places.replace(" ", "")


def test_without_gpus_a_process_takes_a_core() -> None:
    placed = place_processes(recipe_of(2, 4, ranks=1), 1, [*nodes_of(0, 0, cpus=1), Node("id9", "node9", 0, 1)])
    assert [(place.node.name, place.size) for place in placed.places] == [("node0", 1), ("node1", 1), ("node9", 1)]


def test_the_table() -> None:
    placed = place_processes(recipe_of(3, ranks=6, judge=1), 6, nodes_of(8, 4, 1))
    lines = [line.split("  ") for line in plain(placed.table()).splitlines()]
    assert [[cell.strip() for cell in line if cell.strip()] for line in lines] == [
        ["Placement"],
        ["node", "GPUs", "engines", "learning processes", "judge"],
        ["-----", "------", "-------", "------------------", "-----"],
        ["node0", "6 of 8", "-", "0-5", "-"],
        ["node1", "4 of 4", "0-2", "-", "0"],
        ["node2", "0 of 1", "-", "-", "-"],
    ]


@pytest.mark.parametrize(
    ("recipe", "gpus", "told"),
    [
        (recipe_of(2, 4), (4, 3), "no node has 4 GPUs left for engine 1. 9 GPUs are needed"),
        (recipe_of(1, 1, ranks=8), (4, 4), "no node has 1 GPUs left for rank 7. 9 GPUs .* node0 4, node1 4. Add nodes"),
        (recipe_of(3, ranks=3, shared=True), (1, 1), "left for engine 2 and rank 2"),
        (recipe_of(1), (), "there are: no node"),
    ],
)
def test_what_does_not_fit(recipe: Recipe, gpus: tuple[int, ...], told: str) -> None:
    with pytest.raises(ClusterError, match=f"the run does not fit on the cluster: .*{told}"):
        place_processes(recipe, recipe.learner.num_ranks, nodes_of(*gpus))


@pytest.mark.parametrize("shared", [False, True])
def test_a_process_finds_its_place_by_its_number(shared: bool) -> None:
    recipe = recipe_of(3, ranks=4, judge=1, shared=shared)
    places = place_processes(recipe, 4, nodes_of(16)).places
    counts: dict[Part, int] = {"engine": 3, "rank": 4, "judge": 1}
    for part, count in counts.items():
        for number in range(count):
            assert f"{part} {number}" in places[place_number(recipe, part, number)].parts


def test_without_a_learner_there_is_no_judge_of_rewards() -> None:
    placed = place_processes(recipe_of(2, ranks=4, judge=1), 0, nodes_of(2))
    assert [place.parts for place in placed.places] == [("engine 0",), ("engine 1",)]


def test_nodes_on_paper() -> None:
    recipe = recipe_of(2, 4, ranks=6)
    assert placement_lines(recipe, (8, 8)) == [
        ("node 1", "8 of 8 GPUs: engines 0-1"),
        ("node 2", "6 of 8 GPUs: learning processes 0-5"),
    ]
    ((what, problem),) = placement_lines(recipe, (4, 4))
    assert (what, "left for rank 0 and 5 more" in problem) == ("placement", True)
    assert placement_lines(recipe, (14,)) == []
