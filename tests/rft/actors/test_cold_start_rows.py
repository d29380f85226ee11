"""The order of rows of the supervised stage, and its reports."""

from itertools import islice

import pytest

from rewards.targets.choice import ChoiceTarget
from rft.actors.cold_start import in_batches, summed_up
from rft.types import Demonstration, Prompt

ROWS = [Demonstration(Prompt(str(place), "t", "?", None, ChoiceTarget("A")), "A") for place in range(5)]


@pytest.mark.parametrize("num_rows", [1, 2, 5, 8])
def test_every_round_has_every_row_once_and_every_step_is_full(num_rows: int) -> None:
    steps = list(islice(in_batches(ROWS, num_rows, seed=1), 10))
    assert all(len(step) == num_rows for step in steps)
    taken = [row.prompt.prompt_id for step in steps for row in step]
    rounds = [taken[start : start + 5] for start in range(0, len(taken) - 4, 5)]
    assert all(sorted(one) == ["0", "1", "2", "3", "4"] for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1


def test_the_seed_decides_the_order() -> None:
    orders = [list(islice(in_batches(ROWS, 5, seed), 4)) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_a_report_has_means_the_last_rate_and_the_number_of_skipped_updates() -> None:
    lines = [
        {"loss": 2.0, "grad_norm": 1.0, "learning_rate": 0.1, "skipped_updates": 0.0},
        {"loss": 1.0, "grad_norm": 4.0, "learning_rate": 0.2, "skipped_updates": 1.0},
    ]
    assert summed_up(lines) == {"loss": 1.5, "grad_norm": 2.5, "learning_rate": 0.2, "skipped_updates": 1.0}
