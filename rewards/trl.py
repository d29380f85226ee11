"""Any reward as a `trl.GRPOTrainer` reward function. Needs no trl itself."""

import asyncio
import inspect
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from rewards import REWARDS, RewardFn, accepted_targets
from rewards.awaiting import bounded
from rewards.facts import needed_facts
from rewards.targets import TARGETS, target_from_json
from rewards.types import Target

TrlReward = Callable[..., list[float | None]]


def as_trl_reward(reward: str | RewardFn, *, tasks: Collection[str] | None = None, **args: Any) -> TrlReward:
    """A function of TRL's signature, `(prompts, completions, **columns) -> one value in [0, 1] per completion`.

    `reward`: a name of REWARDS or a reward function, `async` or not, that judges by text and target alone: TRL has no
    row, group or log-probabilities for it. `args`: its keyword arguments. The data set's column `target`
    holds each row's target as an object or as JSON text (forms: `json_form` of each kind in rewards/targets/). A row
    gets None, which TRL leaves out, where the reward does not score its kind of target or, with `tasks`, where its
    column `task` is not among them. Raises ValueError for an unknown name, a reward that asks for more facts, a missing
    column or a target that cannot be read.
    """
    if isinstance(reward, str) and reward not in REWARDS:
        raise ValueError(f"no reward named {reward}; there are {', '.join(REWARDS)}")
    fn = REWARDS[reward] if isinstance(reward, str) else reward
    accepted = accepted_targets(fn)
    if lacking := needed_facts(fn):
        raise ValueError(f"reward {fn.__name__} asks for {', '.join(lacking)}, which TRL does not give to rewards")
    own_kinds = [kind for kind in accepted if kind not in TARGETS.values() and not inspect.isabstract(kind)]
    concurrency = inspect.signature(fn).parameters.get("concurrency")
    most = args.get("concurrency", 1 if concurrency is None else concurrency.default)

    def trl_reward(
        prompts: Sequence[object],
        completions: Sequence[object],
        target: Sequence[object] | None = None,
        task: Sequence[str] | None = None,
        **columns: object,
    ) -> list[float | None]:
        if target is None:
            raise ValueError(f"reward {fn.__name__} needs the column 'target'; the data set has {', '.join(columns)}")
        if tasks is not None and task is None:
            raise ValueError(f"reward {fn.__name__} is for tasks {', '.join(tasks)}, but there is no column 'task'")
        row_targets = [_row_target(row, data, own_kinds) for row, data in enumerate(target)]
        calls = {
            row: partial(fn, _completion_text(completion), row_target, **args)
            for row, (completion, row_target) in enumerate(zip(completions, row_targets, strict=True))
            if (task is None or tasks is None or task[row] in tasks) and isinstance(row_target, accepted)
        }
        scores: list[Any] = [call() for call in calls.values()]
        if inspect.iscoroutinefunction(fn):
            scores = asyncio.run(bounded(scores, most))
        values = dict(zip(calls, [score.value for score in scores], strict=True))
        return [values.get(row) for row in range(len(row_targets))]

    # TRL names the curves of a reward by this.
    trl_reward.__name__ = fn.__name__
    return trl_reward


def _row_target(row: int, data: object, own_kinds: Sequence[type[Target]]) -> Target:
    """The target of a row, of one of TARGETS or of a kind of one's own."""
    try:
        data = json.loads(data) if isinstance(data, str) else data
        if isinstance(data, Mapping):
            # Arrow gives every row the keys of all rows, with None for those it does not have.
            data = {key: value for key, value in data.items() if value is not None}
            if own := next((kind for kind in own_kinds if kind.fits(data)), None):
                return own.read(data)
        return target_from_json(data)
    except ValueError as error:
        raise ValueError(f"row {row} of the batch: {error}") from error


def _completion_text(completion: object) -> str:
    """The text of a plain or conversational completion; of several messages, those of the assistant."""
    if isinstance(completion, str):
        return completion
    if isinstance(completion, Mapping):
        completion = [completion]
    if not isinstance(completion, Sequence):
        raise ValueError(f"completion {completion!r} is neither text nor a list of messages")
    contents = [message["content"] for message in completion if message.get("role", "assistant") == "assistant"]
    parts = [part for content in contents for part in ([content] if isinstance(content, str) else content or [])]
    return "".join(part if isinstance(part, str) else part.get("text") or "" for part in parts)
