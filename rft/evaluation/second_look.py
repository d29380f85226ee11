"""Second look: a first answer names spans of the clip, a second answer sees those spans alone, sampled more densely.

Source: VideoChat-R1, arXiv:2504.06958, section on clue-perception inference.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from rewards.geometry import merged
from rewards.parsing import parse_spans, tag_text
from rewards.types import Span
from rft.errors import DataError
from rft.recipe import Recipe, SecondLookRecipe
from rft.tasks import TASKS
from rft.tasks.multiple_choice import MultipleChoiceRow
from rft.tasks.types import Row
from rft.types import Completion, Prompt, Sampler, Sampling, Video


class SecondLook:
    """A Sampler whose completions are second answers, with the spans of the first.

    Where the first answer names no span inside the clip, or its spans give no frames, it is the final one.
    """

    def __init__(self, sampler: Sampler, rows: Mapping[str, Row], recipe: Recipe, look: SecondLookRecipe) -> None:
        """`rows`: by prompt id; those without options get no second look. Raises DataError where none has options."""
        self._sampler, self._look = sampler, look
        questions = {name: _questions(row, recipe) for name, row in rows.items()}
        self._texts = {name: texts for name, texts in questions.items() if texts is not None}
        self._clips_s = {name: row.clip_s for name, row in rows.items()}
        self._fps = look.fps or 2 * recipe.video.fps
        if not self._texts:
            raise DataError("eval.second_look: no row has options. It is for rows of multiple_choice or grounded_qa.")
        self.num_questions = 0
        """Completions to prompts with options."""
        self.num_second_looks = 0
        """Completions whose answer comes from the second look."""

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, seed: int, *, may_stop: bool = True
    ) -> Iterator[tuple[int, tuple[Completion, ...]]]:
        """(index, completions) of each prompt in order, once all second looks are done."""
        first_prompts = [replace(p, text=self._texts.get(p.prompt_id, (p.text,))[0]) for p in prompts]
        firsts = dict(self._sampler.generate(first_prompts, sampling, seed, may_stop=may_stop))
        answers = {i: list(group) for i, group in sorted(firsts.items())}
        again = [
            (i, j, prompt)
            for i, group in answers.items()
            for j, first in enumerate(group)
            if (prompt := self._second_prompt(prompts[i], first, j))
        ]
        once = replace(sampling, num_generations=1)
        seconds = self._sampler.generate([prompt for _, _, prompt in again], once, seed + 1, may_stop=may_stop)
        for number, (second,) in seconds:
            if second.finish_reason != "error":
                i, j, _ = again[number]
                answers[i][j] = _joined(answers[i][j], second)
                self.num_second_looks += 1
        for i, group in answers.items():
            self.num_questions += len(group) if prompts[i].prompt_id in self._texts else 0
            yield i, tuple(group)

    def _second_prompt(self, prompt: Prompt, first: Completion, number: int) -> Prompt | None:
        """The plain question about the spans that `first` names; None where it names none."""
        if prompt.prompt_id not in self._texts:
            return None
        clip_s = self._clips_s[prompt.prompt_id]
        windows = look_windows(parse_spans(tag_text(first.text, "glue") or "") or (), clip_s, self._look.margin_s)
        if not windows:
            return None
        assert isinstance(prompt.media, Video)
        sampling = replace(prompt.media.sampling, fps=self._fps, num_frames=None, times_s=())
        if self._look.total_pixels is not None:
            sampling = replace(sampling, total_pixels=self._look.total_pixels)
        return replace(
            prompt,
            prompt_id=f"{prompt.prompt_id} second look {number}",
            text=self._texts[prompt.prompt_id][1],
            media=replace(prompt.media, sampling=sampling, windows=windows),
        )


def look_windows(spans: Sequence[Span], clip_s: float | None, margin_s: float) -> tuple[Span, ...]:
    """The spans widened on both sides, cut at the clip's ends, in order and disjoint; those outside it left out."""
    end_s = float("inf") if clip_s is None else clip_s
    inside = [span for span in spans if span[0] <= span[1] and span[0] < end_s]
    return tuple(merged((max(0.0, start - margin_s), min(end_s, end + margin_s)) for start, end in inside))


def _questions(row: Row, recipe: Recipe) -> tuple[str, str] | None:
    """(question with spans, question without); None for rows that have no options."""
    if not isinstance(row, MultipleChoiceRow):
        return None
    target, think = TASKS[row.task].target(row), recipe.tasks[row.task].think
    grounded, plain = TASKS["grounded_qa"], TASKS["multiple_choice"]
    return grounded.prompt_about(row, target, think), plain.prompt_about(row, target, think)


def _joined(first: Completion, second: Completion) -> Completion:
    """The second answer with the first one's spans, which the second prompt did not request."""
    glue = tag_text(first.text, "glue")
    return replace(second, text=f"{second.text}<glue>{glue}</glue>")
