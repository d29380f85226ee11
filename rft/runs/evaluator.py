"""Evaluation in a run: of the policy that the engines hold, on the held-out rows, with its progress in the view."""

from dataclasses import dataclass

from rft.data.dataset import UsableRow
from rft.evaluation.evaluate import EvalResult, evaluate
from rft.evaluation.protocols import Protocol
from rft.evaluation.second_look import SecondLook
from rft.evaluation.views import in_view
from rft.recipe import Recipe
from rft.rollout.pool import WorkerPool
from rft.runs.views import View
from rft.types import Sampler


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Measures the policy that the pool holds."""

    recipe: Recipe
    pool: WorkerPool
    held_out: tuple[UsableRow, ...]
    view: View
    protocol: Protocol | None = None
    """How others ask and read; None: as the recipe does."""

    def __call__(self, max_rows: int | None = None) -> EvalResult:
        """On the first `max_rows` held-out rows, or on all."""
        rows = self.held_out[:max_rows]
        num_samples, look = self.recipe.eval.num_samples, self.recipe.eval.second_look
        sampler: Sampler = self.protocol.asked_by(self.pool) if self.protocol else self.pool
        second_look = look and SecondLook(sampler, {row.prompt.prompt_id: row.row for row in rows}, self.recipe, look)
        prompts = [row.prompt for row in rows]
        for name in self.recipe.eval.views:
            shown = in_view(prompts[: len(rows)], name, self.recipe.seed)
            if len(shown) < len(rows):
                self.view.note(f"{len(rows) - len(shown)} of {len(rows)} rows have no known answer where {name}")
            prompts += shown
        self.view.phase("evaluation", len(prompts) * (2 if num_samples else 1))
        result = evaluate(
            second_look or sampler,
            prompts,
            self.recipe.sampling.sampling(),
            num_samples,
            seed=self.recipe.seed,
            on_progress=self.view.advance,
        )
        for failed in self.pool.failed():
            self.view.note(f"no answer to {failed.prompt_id}: {failed.problem}")
        if second_look:
            self.view.note(f"second looks: {second_look.num_second_looks} of {second_look.num_questions} answers")
        return result
