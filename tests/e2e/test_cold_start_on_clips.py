"""The supervised stage on its own, over clips, an image and a text: what it computes, learns and writes."""

from pathlib import Path

import pytest
import torch
from PIL import Image as Picture
from transformers import AutoModelForImageTextToText

from rewards.targets.choice import ChoiceTarget
from rft.actors.cold_start import in_batches
from rft.data.dataset import read_rows, to_prompt
from rft.data.patches import scaled
from rft.data.processor import PromptProcessor
from rft.data.video import ClipCache
from rft.learner.batch import prompt_positions
from rft.learner.cold_start import SupervisedLearner
from rft.learner.model import load_policy
from rft.recipe import Recipe
from rft.synthetic.rows import Sizes, write_dataset
from rft.tasks import TASKS
from rft.types import Demonstration, Image, Prompt

pytestmark = pytest.mark.slow

STEPS = 60


class Stage:
    """A recipe and all that its supervised stage reads."""

    def __init__(self, folder: Path) -> None:
        few = Sizes(events=6, journeys=6)
        write_dataset(folder, train=few, held_out=Sizes(events=1, journeys=1), num_processes=1)
        cold = {"data": [folder / "cold_start.jsonl"], "steps": STEPS, "learning_rate": 3e-3}
        self.recipe = Recipe.model_validate(
            {
                "model": str(folder / "policy"),
                "tasks": {name: {} for name in TASKS},
                "data": {"train": [folder / "train.jsonl"]},
                "steps": 1,
                "video": {"max_frames": 16, "min_pixels": 3136, "max_pixels": 3136},
                "learner": {"dtype": "float32"},
                "cold_start": cold,
            }
        )
        rows = read_rows([folder / "cold_start.jsonl"], None, set(TASKS))
        self.demonstrations = [Demonstration(to_prompt(row, self.recipe), row.demonstration or "") for row in rows]
        Picture.effect_noise((90, 60), 60).convert("RGB").save(folder / "a.png")
        for name, media in (("image", Image(folder / "a.png", 56 * 56, 84 * 84)), ("text", None)):
            prompt = Prompt(name, "multiple_choice", "Which one?", media, ChoiceTarget("A"))
            self.demonstrations.append(Demonstration(prompt, "<answer>A</answer>"))
        self.processor = PromptProcessor(self.recipe.model, None)
        self.clips = ClipCache(folder / "cache", 1.0)

    def learner(self) -> SupervisedLearner:
        assert self.recipe.cold_start is not None
        return SupervisedLearner(self.recipe.model, self.recipe, self.recipe.cold_start, self.processor, self.clips)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(tmp_path_factory.mktemp("stage"))


def test_a_step_has_the_loss_of_its_rows_alone(stage: Stage) -> None:
    """Other rows' videos and images and the prompt's tokens do not count."""
    rows = [stage.demonstrations[place] for place in (0, -1, 1, -2, 2)]  # the text and the image among videos
    model = load_policy(stage.recipe.model, torch.float32).eval()
    losses = []
    for shown in rows:
        inputs = stage.processor.encode(shown.prompt, stage.clips.load(shown.prompt.media))
        answer = stage.processor.completion_ids(shown.completion)
        assert answer[-1] == stage.processor.eos_token_id
        ids = torch.tensor([[*inputs.token_ids, *answer]])
        start = prompt_positions(model, inputs.token_ids, inputs.grid, inputs.seconds_per_grid)
        positions = torch.cat([start, start[:, -1:] + torch.arange(1, len(answer) + 1)], 1)
        names = ("pixel_values_videos", "video_grid_thw")
        if isinstance(shown.prompt.media, Image):
            names = ("pixel_values", "image_grid_thw")
        visual = {}
        if inputs.patches is not None:
            visual = dict(zip(names, (scaled(inputs.patches, inputs.scale), inputs.grid), strict=True))
        with torch.no_grad():
            logits = model(input_ids=ids, position_ids=positions[:, None], **visual).logits[0, :-1]
        logprobs = logits[len(inputs.token_ids) - 1 :].log_softmax(-1)
        losses += (-logprobs.gather(-1, torch.tensor(answer)[:, None])[:, 0]).tolist()
    assert stage.learner().update(rows)["loss"] == pytest.approx(sum(losses) / len(losses), abs=1e-4)


def test_the_stage_learns_and_writes_a_folder_that_loads(stage: Stage, tmp_path: Path) -> None:
    learner = stage.learner()
    batches = in_batches(stage.demonstrations, 16, seed=0)
    losses = [learner.update(next(batches))["loss"] for _ in range(STEPS)]
    learner.save(tmp_path)
    assert sum(losses[-10:]) < 0.3 * sum(losses[:10])
    before = AutoModelForImageTextToText.from_pretrained(stage.recipe.model).state_dict()
    after = AutoModelForImageTextToText.from_pretrained(tmp_path).state_dict()
    assert all(not torch.equal(after[name], weights) for name, weights in before.items() if weights.ndim > 1)
    text = stage.demonstrations[0].completion
    assert PromptProcessor(str(tmp_path), None).completion_ids(text) == stage.processor.completion_ids(text)
