import pytest

from rewards.label import label_match
from rewards.targets.label import LabelTarget


@pytest.mark.parametrize(
    ("completion", "value", "fault", "note"),
    [
        ("<think>low quality?</think><answer>high quality</answer>", 1, None, "right"),
        ("<answer>\n High-Quality. </answer>", 1, None, "right"),
        ("<answer>HIGH_QUALITY</answer>", 1, None, "right"),
        ("<answer>low quality</answer><answer>high quality</answer>", 1, None, "right"),
        ("<answer>high quality</answer><answer>low quality</answer>", 0, None, "not the label 'high quality'"),
        ("<answer>low quality</answer>", 0, None, "not the label"),
        ("<answer>high quality or low quality</answer>", 0, None, "not the label"),
        ("<answer>highquality</answer>", 0, None, "not the label"),
        ("<answer>quality</answer>", 0, None, "not the label"),
        ("<answer> -- </answer>", 0, "unreadable", "no words"),
        (f"<answer>{'high quality ' * 5000}</answer>", 0, "unreadable", "too many"),
        ("high quality", 0, "no_tag", "no <answer>"),
        ("", 0, "no_tag", "no <answer>"),
    ],
)
def test_label_match(completion: str, value: float, fault: str | None, note: str) -> None:
    score = label_match(completion, LabelTarget("high quality"))
    assert (score.value, score.fault) == (value, fault)
    assert note in score.note
