"""The supervised stage on its own: what it computes, learns and writes."""

from pathlib import Path
from typing import Literal

import pytest
import torch
from PIL import Image as Picture
from transformers import AutoModelForImageTextToText, get_scheduler

from rewards.targets.choice import ChoiceTarget
from rft.data.dataset import read_rows, to_prompt
from rft.data.processor import PromptProcessor
from rft.data.video import ClipCache
from rft.learner.batch import prompt_positions
from rft.learner.cold_start import IGNORED, DemonstrationCollator, run_cold_start, training_arguments
from rft.learner.model import load_policy
from rft.recipe import ColdStartRecipe, Recipe
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
        self.recipe = Recipe.model_validate(
            {
                "model": str(folder / "policy"),
                "tasks": {name: {} for name in TASKS},
                "data": {"train": [folder / "train.jsonl"]},
                "steps": 1,
                "video": {"max_frames": 16, "min_pixels": 3136, "max_pixels": 3136},
                "learner": {"dtype": "float32"},
                "cold_start": {"data": [folder / "cold_start.jsonl"], "steps": STEPS, "learning_rate": 3e-3},
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

    def collate(self, places: list[int], model: torch.nn.Module) -> dict[str, torch.Tensor]:
        collator = DemonstrationCollator(self.demonstrations, self.processor, self.clips, model)
        return collator([{"place": place} for place in places])


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(tmp_path_factory.mktemp("stage"))


def test_a_batch_has_the_loss_of_its_rows_alone(stage: Stage) -> None:
    """Padding, other rows' videos and images and the prompt's tokens do not count."""
    model = load_policy(stage.recipe.model, torch.float32).eval()
    last = len(stage.demonstrations)
    places = [0, last - 1, 1, last - 2, 2]  # the text and the image among videos
    batch = stage.collate(places, model)
    with torch.no_grad():
        losses = model(**batch).logits[:, :-1].log_softmax(-1)
    for row, place in enumerate(places):
        shown = stage.demonstrations[place]
        inputs = stage.processor.encode(shown.prompt, stage.clips.load(shown.prompt.media))
        answer = stage.processor.completion_ids(shown.completion)
        labels = batch["labels"][row]
        assert labels[labels != IGNORED].tolist() == list(answer)
        assert answer[-1] == stage.processor.eos_token_id
        ids = torch.tensor([[*inputs.token_ids, *answer]])
        positions = prompt_positions(model, ids[0].tolist(), inputs.grid, inputs.seconds_per_grid)
        names = ("pixel_values_videos", "video_grid_thw")
        if isinstance(shown.prompt.media, Image):
            names = ("pixel_values", "image_grid_thw")
        visual = dict(zip(names, (inputs.patches, inputs.grid), strict=True)) if shown.prompt.media else {}
        with torch.no_grad():
            alone = model(input_ids=ids, position_ids=positions[:, None], **visual).logits[0, :-1]
        where = slice(len(inputs.token_ids) - 1, len(inputs.token_ids) - 1 + len(answer))
        expected = alone.log_softmax(-1)[where].gather(-1, torch.tensor(answer)[:, None])
        found = losses[row, where].gather(-1, torch.tensor(answer)[:, None])
        assert (found - expected).abs().max() < 1e-4


def test_all_learns_the_question_too_but_neither_the_video_nor_padding(stage: Stage) -> None:
    model = load_policy(stage.recipe.model, torch.float32)
    collator = DemonstrationCollator(stage.demonstrations, stage.processor, stage.clips, model, "all")
    rows = [{"place": place} for place in range(4)]
    batch, own = collator(rows), stage.collate([0, 1, 2, 3], model)
    assert torch.equal(batch["input_ids"], own["input_ids"])
    vision = torch.isin(batch["input_ids"], torch.tensor(stage.processor.banned_token_ids))
    learned = batch["labels"] != IGNORED
    assert vision.any(dim=1).all()
    assert torch.equal(learned, batch["attention_mask"].bool() & ~vision)
    assert torch.equal(batch["labels"][learned], batch["input_ids"][learned])
    assert (learned.sum(1) > (own["labels"] != IGNORED).sum(1)).all()


@pytest.mark.parametrize(("kind", "last"), [("linear", 0.0), ("cosine", 1e-4)])
def test_the_learning_rate_falls_as_the_recipe_says(kind: Literal["linear", "cosine"], last: float) -> None:
    cold = ColdStartRecipe(data=(), steps=8, learning_rate=1e-3, lr_scheduler_type=kind, warmup_steps=2)
    args = training_arguments(cold, 0, Path("unused"), False)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=args.learning_rate)
    schedule = get_scheduler(
        args.lr_scheduler_type, optimizer, args.warmup_steps, args.max_steps, args.lr_scheduler_kwargs
    )
    rates = []
    for _ in range(args.max_steps):
        optimizer.step()
        schedule.step()
        rates.append(schedule.get_last_lr()[0])
    assert rates[:2] == pytest.approx([5e-4, 1e-3])
    assert rates[-1] == pytest.approx(last)


def test_the_stage_learns_and_writes_a_folder_that_loads(
    stage: Stage, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    reported: list[tuple[int, float]] = []
    cold = stage.recipe.cold_start
    assert cold is not None
    run_cold_start(
        stage.recipe,
        cold,
        stage.demonstrations,
        stage.processor,
        stage.clips,
        tmp_path,
        lambda step, loss: reported.append((step, loss)),
    )
    assert "loss" not in capfd.readouterr().out
    assert [step for step, _ in reported] == list(range(10, STEPS + 1, 10))
    assert reported[-1][1] < 0.3 * reported[0][1]
    before = AutoModelForImageTextToText.from_pretrained(stage.recipe.model).state_dict()
    after = AutoModelForImageTextToText.from_pretrained(tmp_path).state_dict()
    assert all(not torch.equal(after[name], weights) for name, weights in before.items() if weights.ndim > 1)
    text = stage.demonstrations[0].completion
    assert PromptProcessor(str(tmp_path), None).completion_ids(text) == stage.processor.completion_ids(text)
