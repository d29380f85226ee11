import pytest

from rewards.grounding import temporal_iou
from rewards.trl import as_trl_reward

SPAN, CHOICE = {"span": [2, 4]}, {"choice": "B"}


def test_mixed_rows_of_every_form() -> None:
    reward = as_trl_reward("temporal_iou")
    values = reward(
        prompts=["p"] * 5,
        completions=[
            "<answer>2 to 3</answer>",
            [{"role": "assistant", "content": "<answer>2 to 4</answer>"}],
            [{"role": "assistant", "content": [{"type": "text", "text": "<answer>2 to 4</answer>"}]}],
            "<answer>B</answer>",
            "nothing",
        ],
        target=[SPAN, '{"span": [2, 4]}', SPAN | {"choice": None}, CHOICE, SPAN],
        completion_ids=[[1]] * 5,
        trainer_state=None,
    )
    assert values == [0.5, 1.0, 1.0, None, 0.0]


def test_only_the_assistant_is_read() -> None:
    reward = as_trl_reward("choice_accuracy")
    turn = [{"role": "tool", "content": "<answer>B</answer>"}, {"role": "assistant", "content": "<answer>A</answer>"}]
    assert reward(prompts=["p"], completions=[turn], target=[CHOICE]) == [0.0]


def test_name_and_arguments_are_kept() -> None:
    reward = as_trl_reward(temporal_iou, min_iou=0.6)
    assert reward.__name__ == "temporal_iou"
    assert reward(prompts=["p"], completions=["<answer>2 to 3</answer>"], target=[SPAN]) == [0.0]


def test_rows_of_other_tasks_are_left_out() -> None:
    reward = as_trl_reward("answer_format", tasks=("multiple_choice",))
    values = reward(
        prompts=["p"] * 2,
        completions=["<answer>B</answer>", "<answer>2 to 3</answer>"],
        target=[CHOICE, SPAN],
        task=["multiple_choice", "temporal_grounding"],
    )
    assert values == [1.0, None]


def test_mistakes_are_explained() -> None:
    with pytest.raises(ValueError, match="no reward named temporal_io;"):
        as_trl_reward("temporal_io")
    reward = as_trl_reward("temporal_iou")
    with pytest.raises(ValueError, match="needs the column 'target'; the data set has solution"):
        reward(prompts=["p"], completions=["x"], solution=["y"])
    with pytest.raises(ValueError, match=r"row 1 of the batch: .*span"):
        reward(prompts=["p"] * 2, completions=["x"] * 2, target=[SPAN, {"span": [4, 2]}])
    with pytest.raises(ValueError, match="row 0 of the batch"):
        reward(prompts=["p"], completions=["x"], target=["not json"])
    with pytest.raises(ValueError, match="no column 'task'"):
        as_trl_reward("temporal_iou", tasks=("a",))(prompts=["p"], completions=["x"], target=[SPAN])
