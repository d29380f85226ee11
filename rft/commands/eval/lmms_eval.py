"""The model `rft` of lmms-eval: a policy asked as `rft eval` asks it, frames, times, prompt, engine and all.

lmms-eval finds `manifest` by the entry point lmms_eval.models; nothing else imports this file. What lmms-eval hands
over tells which row is asked; its prompt and its settings of generation are not used.
"""

import json
import sys
from pathlib import Path
from typing import Any, NoReturn

from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms
from lmms_eval.models.registry_v2 import ModelManifest

from rewards.parsing import tag_text
from rft.evaluation.evaluate import Sample
from rft.evaluation.lmms_requests import Request


def manifest() -> ModelManifest:
    """What lmms-eval registers."""
    return ModelManifest("rft", simple_class_path=f"{__name__}.{RftModel.__name__}")


class RftModel(lmms):  # type: ignore[misc]
    """`--model rft --model_args pretrained=MODEL_DIR,data=rows.jsonl[,recipe=R][,video_root=DIR][,KEY=VALUE]`."""

    def __init__(
        self,
        pretrained: str,
        data: str,
        recipe: str | None = None,
        video_root: str | None = None,
        batch_size: object = None,
        max_batch_size: object = None,
        device: object = None,
        **settings: Any,
    ) -> None:
        """`settings`: recipe keys, such as video.max_frames=16. Batches and devices are the engine's matter.

        RecipeError: with every problem of the arguments.
        """
        from rft.commands.eval.request import eval_recipe

        super().__init__()
        overrides = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
        self._recipe = eval_recipe(
            pretrained,
            [Path(data)],
            Path(recipe) if recipe else None,
            Path(video_root) if video_root else None,
            0,
            [*overrides, "eval.views=[]"],
        )

    def generate_until(self, requests: list[Instance]) -> list[GenerationResult]:
        """The greedy answer of `rft eval` to the row of each request: the text in its last <answer>, else all of it.

        A clip that cannot be decoded has an empty answer. DataError: with every request that has no row.
        """
        from rft.actors.session import session
        from rft.evaluation.lmms_requests import rows_asked
        from rft.runs.evaluator import Evaluator

        rows = rows_asked([self._request(one) for one in requests], self._recipe)
        with session(self._recipe, "rft in lmms-eval", stream=sys.stderr) as opened:
            once = {row.prompt.prompt_id: row for row in rows}
            result = Evaluator(opened.recipe, opened.start_pool(), tuple(once.values()), opened.view)()
        samples = {sample.prompt_id: sample for sample in result.samples}
        return [_reply(samples[row.prompt.prompt_id]) for row in rows]

    def loglikelihood(self, requests: list[Instance]) -> NoReturn:
        raise NotImplementedError("the model rft answers in words; choose tasks of output_type generate_until")

    def generate_until_multi_round(self, requests: list[Instance]) -> NoReturn:
        raise NotImplementedError("the model rft answers once; choose tasks of output_type generate_until")

    def _request(self, instance: Instance) -> Request:
        prompt, _, _, number, task, split = instance.args
        return Request(f"{task}:{number}", prompt, self.task_dict[task][split][number])


def _reply(sample: Sample) -> GenerationResult:
    answer = tag_text(sample.completion, "answer")
    text = sample.completion if answer is None else answer
    return GenerationResult(text, TokenCounts(output_tokens=sample.num_tokens))
