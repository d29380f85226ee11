"""Our rewards in `trl.GRPOTrainer`, on a mixed data set: each row is scored by the rewards of its kind.

    python examples/trl_reward.py

A real run hands `reward_funcs` to `GRPOTrainer(model, reward_funcs=reward_funcs, train_dataset=...)`; here they are
called the way the trainer calls them.
"""

from rewards.trl import as_trl_reward

ROWS = [
    {"task": "temporal_grounding", "target": {"span": [2.0, 4.0]}},
    {"task": "multiple_choice", "target": {"choice": "B"}},
]


def main() -> None:
    reward_funcs = [
        as_trl_reward("temporal_iou", min_iou=0.2),
        as_trl_reward("choice_accuracy"),
        as_trl_reward("answer_format"),
    ]
    completions = [
        "<answer>2.5 to 4.0</answer>",
        [{"role": "assistant", "content": "<answer>(B)</answer>"}],
    ]
    columns = {key: [row[key] for row in ROWS] for key in ROWS[0]}
    for fn in reward_funcs:
        print(f"{fn.__name__:16} {fn(prompts=['When?', 'Which?'], completions=completions, **columns)}")


if __name__ == "__main__":
    main()
