"""Simulated steps against cases worked out by hand."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import simulate
from benchmarks.paper_costs import SLEEP_AND_WAKE_S, Job, Way, gather_s, hand_over_s, paper_costs, states_that_fit
from benchmarks.recorded_steps import RecordedRun, RecordedStep, fit, read_run
from benchmarks.step_model import Costs, Layout, Run, SampledGroup, Steps
from benchmarks.step_model import simulate as run_steps
from rft.commands.check.estimate import GPUS
from rft.files import write_records

COSTS = Costs(
    vision=1.0,
    prefill=2.0,
    decode_step=1.0,
    decode_token=0.5,
    update=3.0,
    update_prompt=1.0,
    update_token=0.25,
    update_floor=0.0,
    hand_over=5.0,
)
GROUP = SampledGroup((2, 4))
ROLLOUT_S = 1 + 2 + 2 * (1 + 2 * 0.5) + 2 * (1 + 0.5)  # both completions for two positions, then the longer one
UPDATE_S = 3 + 1 + 6 * 0.25

# Of two groups of one completion each, one takes nine seconds and one takes one; nothing else costs anything.
TAIL = Costs(0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
LONG_AND_SHORT = [SampledGroup((9,)), SampledGroup((1,))]


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (Layout(1, 8, 1), ROLLOUT_S + UPDATE_S + 5),
        (Layout(1, 8, 1, ahead=1), max(ROLLOUT_S, UPDATE_S) + 5),
        (Layout(1, 8, 1, ahead=1, cores=2), max(ROLLOUT_S, UPDATE_S) + 5),
        (Layout(1, 8, 1, ahead=1, cores=1), ROLLOUT_S + UPDATE_S + 5),
    ],
)
def test_a_step_in_turns_and_one_ahead(layout: Layout, expected: float) -> None:
    found = run_steps(COSTS, layout, [[GROUP]] * 6)
    assert found.step == pytest.approx(expected)


def test_phases_are_told_per_step() -> None:
    found = run_steps(COSTS, Layout(1, 8, 1), [[GROUP]] * 3)
    assert found.engine == pytest.approx({"vision": 1.0, "prefill": 2.0, "decode": 7.0})
    assert found.learner == pytest.approx({"update": UPDATE_S, "hand_over": 5.0})
    assert found.engine_idle == pytest.approx(UPDATE_S + 5)
    assert found.bound == "update"


def test_a_group_waits_for_room_among_those_that_are_decoded() -> None:
    one_after_the_other = run_steps(COSTS, Layout(1, 2, 1), [[GROUP, GROUP]] * 2)
    assert one_after_the_other.engine == pytest.approx({"vision": 2.0, "prefill": 4.0, "decode": 14.0})
    together = run_steps(COSTS, Layout(1, 4, 1), [[GROUP, GROUP]] * 2)
    assert together.engine["decode"] == pytest.approx(2 * (1 + 4 * 0.5) + 2 * (1 + 2 * 0.5))


@pytest.mark.parametrize(
    ("ahead", "partial", "expected"),
    [
        (0, False, 9.0),
        (1, False, 9.0),  # the hand-over waits for the long one
        (1, True, 5.0),  # both engines always work
        (2, True, 5.0),
    ],
)
def test_partial_rollouts_do_not_wait_for_the_longest(ahead: int, partial: bool, expected: float) -> None:
    found = run_steps(TAIL, Layout(2, 1, 1, ahead, partial), [LONG_AND_SHORT] * (12 + 2 * ahead))
    assert found.step == pytest.approx(expected, rel=0.1)


def test_after_a_hand_over_the_engine_reads_unfinished_groups_anew() -> None:
    """The long group is read at its beginning, and once more after the step of the short one."""
    batches = [[SampledGroup((1,))], [SampledGroup((40,))]]
    run = Run(replace(TAIL, vision=2.0, prefill=1.0), Layout(1, 2, 1, 1, partial=True), batches)
    _, engine = run.play([run.learner(), run.engine()])
    assert engine == {"vision": 2 * 2.0, "prefill": 2 * 1.0 + (2.0 + 1.0), "decode": 40.0, "hand_over": 0.0}


def test_costly_groups_are_dealt_to_ranks_first_and_dropped_ones_to_none() -> None:
    batch = [SampledGroup((n,)) for n in (3, 3, 4)] + [SampledGroup((100,), is_learned=False)]
    costs = replace(COSTS, update=0.0, update_prompt=0.0, update_token=1.0)
    assert Run(costs, Layout(1, 8, 2), [batch]).update_s(batch) == 6.0
    assert Run(replace(costs, update_floor=7.0), Layout(1, 8, 2), [batch]).update_s(batch) == 7.0


def test_costs_are_found_in_the_record_of_runs() -> None:
    known = replace(COSTS, vision=0.0, update=0.0)
    steps = []
    for lengths in ([(2, 4)], [(3, 3), (1, 8)], [(5, 6), (2, 2), (7, 1)], [(9, 9)]):
        groups = tuple(map(SampledGroup, lengths))
        tokens = sum(map(sum, lengths))
        rollout = 2.0 * len(groups) + 1.0 * max(map(max, lengths)) + 0.5 * tokens
        update = 1.0 * len(groups) + 0.25 * tokens
        steps.append(RecordedStep(rollout + update + 5, rollout, update, groups))
    found = fit([RecordedRun("run", Layout(1, 64, 1), tuple(steps))])
    for name in Costs.__slots__:
        assert getattr(found, name) == pytest.approx(getattr(known, name), abs=1e-6), name


def test_a_run_is_read_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "rollouts").mkdir()
    recipe = {"model": "m", "tasks": {"temporal_grounding": {}}, "data": {"train": ["rows.jsonl"]}, "steps": 7}
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe | {"rollout": {"num_workers": 2, "ahead": 1}}))
    lines = [{"stage": "train", "step": n, "time": 10.0 * n, "seconds/update": 2.0} for n in range(1, 8)]
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    for step in range(1, 8):
        rows = [("a", 3, 0.5), ("a", step, -0.5), ("b", 4, None)]
        names = ("prompt_id", "num_tokens", "advantage")
        path = tmp_path / "rollouts" / f"step_{step:06d}.jsonl.zst"
        write_records(path, (dict(zip(names, row, strict=True)) for row in rows))
    run = read_run(tmp_path, cores=1)
    assert run.layout == Layout(2, 64, 1, ahead=1, cores=1)
    assert run.steps == tuple(
        RecordedStep(10.0, 0.0, 2.0, (SampledGroup((3, step)), SampledGroup((4,), is_learned=False))) for step in (6, 7)
    )


H200 = GPUS["H200"]


def test_weights_go_to_engines_one_after_the_other_or_at_the_same_time() -> None:
    job, layout = Job("7b", H200, 64), Layout(32, 64, 32)
    gathering, sending = gather_s(job, 32), job.weight_bytes / 45e9
    assert hand_over_s(job, Way("", shared=True), layout) == gathering + SLEEP_AND_WAKE_S
    assert hand_over_s(job, Way("", shared=False), layout) == pytest.approx(gathering + 32 * sending)
    assert hand_over_s(job, Way("", shared=False, broadcast=True), layout) == pytest.approx(gathering + sending)


def test_costs_on_paper_of_a_7b() -> None:
    """8.3e9 weights of two bytes, of which a token reads 14.1e9 bytes, at 60 % of 4.8e12 bytes per second."""
    costs = paper_costs(Job("7b", H200, 1), Way("", shared=True), Layout(1, 64, 1))
    assert costs.decode_step == pytest.approx(14.14e9 / (0.6 * 4.8e12), rel=0.01)
    keys_and_values = 2 * 2 * 28 * 4 * 128 * (3700 + 128)
    assert costs.decode_token == pytest.approx(keys_and_values / (0.6 * 4.8e12))
    assert costs.update_floor == 0.0


def test_a_72b_fits_on_no_single_gpu() -> None:
    way = Way("", shared=True)
    assert states_that_fit(Job("7b", H200, 1), way, Layout(1, 64, 1)) == "bfloat16"
    assert states_that_fit(Job("7b", H200, 8), way, Layout(8, 64, 8)) == "float32"
    assert states_that_fit(Job("72b", H200, 8), way, Layout(1, 512, 8)) is None


def test_a_row_names_the_best_split() -> None:
    in_turns = simulate.WAYS[0]
    row = simulate.paper_row(Job("7b", H200, 1), in_turns)
    assert row[:6] == ("7b", "1", "8", "in turns", "1, 1", "bfloat16")
    assert float(row[7]) == pytest.approx(float(row[6]) / 8, abs=0.1)
    assert simulate.paper_row(Job("72b", H200, 1), in_turns)[4:] == (*["-"] * 5, "does not fit")


def test_the_busier_side_is_the_bound() -> None:
    assert Steps(10.0, {"decode": 9.0, "prefill": 0.5}, {"update": 8.0, "hand_over": 1.0}).bound == "decode"
    assert Steps(10.0, {"decode": 5.0}, {"update": 4.0, "hand_over": 5.0}).bound == "hand_over"
