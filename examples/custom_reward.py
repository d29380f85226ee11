"""A reward of one's own: write it, look at it, score a group with it.

python examples/custom_reward.py
"""

from pathlib import Path

from rewards import REWARDS
from rewards.parsing import answer_text, parse_span
from rewards.targets.span import SpanTarget
from rewards.types import Score
from rft.recipe import ScoringRecipe
from rft.recipe.video import VideoRecipe
from rft.scoring.group import WeightedReward, score_group
from rft.tasks import TASKS
from rft.types import Completion, Prompt, Video


def start_distance(completion: str, target: SpanTarget, *, within_s: float = 5.0) -> Score:
    """1 at the true start, falling to 0 at `within_s` seconds away from it."""
    answer = answer_text(completion)
    span = parse_span(answer) if answer else None
    if span is None:
        return Score(0.0, answer, "no 'start to end' inside <answer>")
    distance = abs(span[0] - target.start_s)
    return Score(max(0.0, 1.0 - distance / within_s), answer, f"{distance:.2f} s from the true start")


def main() -> None:
    task = TASKS["temporal_grounding"]
    rewards = (
        WeightedReward("temporal_iou", REWARDS["temporal_iou"]),
        WeightedReward("start_distance", start_distance, weight=0.5, args={"within_s": 2.0}),
    )
    video = Video(Path(task.example.video), VideoRecipe().sampling())
    prompt = Prompt("p1", task.name, task.prompt_text(task.example, think=True), video, task.target(task.example))
    texts = [task.target_completion(prompt.target, think=True), "<answer>13.5 to 20</answer>", "about 12 s"]
    completions = [Completion(text, (), (), 0, "stop", 0) for text in texts]
    group = score_group(prompt, completions, rewards, ScoringRecipe(), max_completion_length=1024)
    for rollout in group.rollouts:
        print(f"{rollout.reward:.3f}  {rollout.completion.text}")
        for name, score in rollout.scores.items():
            print(f"       {name} {score.value:.3f}: {score.note}")


if __name__ == "__main__":
    main()
