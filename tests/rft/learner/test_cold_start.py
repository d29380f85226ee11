"""The supervised stage: against trl.SFTTrainer, on several ranks, and what it hands on."""

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from forked import in_ranks
from safetensors.torch import load_file
from test_mixed_media import MixedProcessor, QuietClips
from test_sharding import assert_close, free_port
from tiny_policy import END, PAD, prompt, recipe
from tokenizers import Tokenizer, models
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import SequentialSampler
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from rft.learner.batch import prompt_positions
from rft.learner.cold_start import SupervisedLearner
from rft.learner.model import load_policy
from rft.learner.sharding import init_distributed
from rft.recipe import ColdStartRecipe
from rft.types import Demonstration, Image

STEPS, ROWS = 5, 4
IGNORED = -100
LORA = {"lora": {"r": 2, "lora_alpha": 4}}
CASES: dict[str, dict[str, object]] = {
    "full": {},
    "row by row": {"gradient_checkpointing": True, "logprob_chunk": 3, "max_tokens_per_forward": 1},
    "frozen tower": {"freeze_vision": True},
    "lora": LORA,
}
"""Settings of recipe.learner with which two ranks are compared to one."""


def cold_start(loss_on: str = "completion", schedule: str = "cosine", **settings: object) -> ColdStartRecipe:
    given = {"data": (), "steps": STEPS, "rows_per_step": ROWS, "learning_rate": 3e-3, "warmup_steps": 2}
    given |= {"weight_decay": 0.1, "adam_beta2": 0.98, "loss_on": loss_on, "lr_scheduler_type": schedule}
    return ColdStartRecipe.model_validate(given | settings)


def demonstrations() -> list[Demonstration]:
    """Videos, images and texts in turn, with completions of different lengths."""
    rows = []
    for place in range(STEPS * ROWS):
        text = " ".join(str(6 + (7 * place + word) % 30) for word in range(2 + place % 4))
        shown = prompt(f"row {place}", text)
        video = replace(shown.media, path=Path(f"{place}.mp4"))
        media = (video, Image(Path(f"{place}.png"), 1, 784), None)[place % 3]
        rows.append(Demonstration(replace(shown, media=media), "imitated"[: 1 + place % 7]))
    return rows


def make(
    model_dir: Path, cold: ColdStartRecipe, dtype: torch.dtype | None = torch.float64, **learner: object
) -> SupervisedLearner:
    return SupervisedLearner(
        model_dir, recipe(learner=learner), cold, MixedProcessor(14), QuietClips(), dtype=dtype
    )  # fmt: skip


def collated(rows: list[Demonstration], model: PreTrainedModel, loss_on: str) -> dict[str, Tensor]:
    """Inputs of transformers' forward pass, padded."""
    processor = MixedProcessor(14)
    columns: dict[str, list[Tensor]] = {name: [] for name in ("ids", "labels", "places", "video", "image")}
    grids: dict[str, list[Tensor]] = {"video": [], "image": []}
    for row in rows:
        inputs = processor.encode(row.prompt, None)
        answer = processor.completion_ids(row.completion)
        learned = [loss_on == "all" and token not in processor.banned_token_ids for token in inputs.token_ids]
        start = prompt_positions(model, inputs.token_ids, inputs.grid, inputs.seconds_per_grid)
        columns["ids"].append(torch.tensor([*inputs.token_ids, *answer]))
        labels = [token if counts else IGNORED for token, counts in zip(inputs.token_ids, learned, strict=True)]
        columns["labels"].append(torch.tensor([*labels, *answer]))
        columns["places"].append(torch.cat([start, start[:, -1:] + torch.arange(1, len(answer) + 1)], 1).T)
        if inputs.patches is not None and inputs.grid is not None:
            kind = "image" if isinstance(row.prompt.media, Image) else "video"
            columns[kind].append(inputs.patches)
            grids[kind].append(inputs.grid)
    batch = {
        "input_ids": pad_sequence(columns["ids"], True, padding_value=END),
        "attention_mask": pad_sequence([torch.ones_like(ids) for ids in columns["ids"]], True),
        "labels": pad_sequence(columns["labels"], True, padding_value=IGNORED),
        "position_ids": pad_sequence(columns["places"], True).permute(2, 0, 1),
    }
    for kind, name in (("video", "pixel_values_videos"), ("image", "pixel_values")):
        if grids[kind]:
            batch |= {name: torch.cat(columns[kind]).double(), f"{kind}_grid_thw": torch.cat(grids[kind])}
    return batch


def by_trl(
    model_dir: Path, cold: ColdStartRecipe, rows: list[Demonstration], folder: Path
) -> tuple[list[float], dict[str, Tensor]]:
    """(the loss of each step, the weights behind the last one) of trl.SFTTrainer, with its own loss and schedule."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    losses: list[float] = []

    class InOrder(SFTTrainer):
        def _get_train_sampler(self, dataset: Dataset | None = None) -> SequentialSampler:
            return SequentialSampler(self.train_dataset)

        def get_decay_parameter_names(self, model: PreTrainedModel) -> list[str]:
            # transformers knows norms by name, and misses norm1, norm2 and ln_q of the vision tower.
            names = super().get_decay_parameter_names(model)
            return [name for name in names if model.get_parameter(name).ndim > 1]

        def training_step(self, *args: object, **kwargs: object) -> Tensor:
            loss = super().training_step(*args, **kwargs)
            losses.append(float(loss))
            return loss

    is_linear = cold.lr_scheduler_type == "linear"
    args = SFTConfig(
        output_dir=str(folder),
        max_steps=cold.steps,
        per_device_train_batch_size=cold.rows_per_step,
        learning_rate=cold.learning_rate,
        lr_scheduler_type="linear" if is_linear else "cosine_with_min_lr",
        lr_scheduler_kwargs={} if is_linear else {"min_lr_rate": 0.1},
        warmup_steps=cold.warmup_steps,
        weight_decay=cold.weight_decay,
        adam_beta2=cold.adam_beta2,
        max_grad_norm=1.0,
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    model = load_policy(model_dir, torch.float64)
    words = Tokenizer(models.WordLevel({str(token): token for token in range(40)}, unk_token=str(PAD)))
    trainer = InOrder(
        model=model,
        args=args,
        train_dataset=Dataset.from_dict({"place": list(range(len(rows)))}),
        data_collator=lambda places: collated([rows[one["place"]] for one in places], model, cold.loss_on),
        processing_class=PreTrainedTokenizerFast(tokenizer_object=words, eos_token=str(END), pad_token=str(PAD)),
    )
    trainer.train()
    return losses, {name: tensor.detach() for name, tensor in model.named_parameters()}


@pytest.mark.slow
@pytest.mark.parametrize(("loss_on", "schedule"), [("completion", "linear"), ("all", "cosine")])
def test_losses_and_weights_are_trls(
    tiny_dir: Path,
    tmp_path: Path,
    loss_on: Literal["completion", "all"],
    schedule: Literal["linear", "cosine"],
) -> None:
    """Rows of all kinds, two warm-up steps, weight decay, gradients that are clipped."""
    cold, rows = cold_start(loss_on, schedule), demonstrations()
    losses, weights = by_trl(tiny_dir, cold, rows, tmp_path)
    learner = make(tiny_dir, cold)
    lines = [learner.update(rows[start : start + ROWS]) for start in range(0, len(rows), ROWS)]
    assert [line["loss"] for line in lines] == pytest.approx(losses, abs=1e-6)
    assert max(line["grad_norm"] for line in lines) > 1
    found = dict(learner._policies.model.named_parameters())
    start = dict(load_policy(tiny_dir, torch.float64).named_parameters())
    assert weights.keys() == found.keys()
    for name, expected in weights.items():
        assert (found[name] - expected).abs().max() < 1e-6, name
        assert not torch.equal(expected, start[name]), name


def learn(model_dir: Path, out: Path, case: str) -> None:
    """Updates on rows of all kinds, one of them on a single row; the weights and what was told of them."""
    learner = make(model_dir, cold_start("all"), **CASES[case])
    rows = demonstrations()
    lines = [learner.update(chosen) for chosen in (rows[:7], rows[7:8], rows[8:13])]
    learner.save(out)
    if out.is_dir():
        torch.save(torch.tensor([line[name] for line in lines for name in ("loss", "grad_norm")]), out / "values.pt")


def one_rank(rank: int, port: int, model_dir: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    init_distributed(rank, 2, "127.0.0.1", port, torch.device("cpu"))
    for case in CASES:
        learn(model_dir, folder / f"{case} together", case)
        torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    os._exit(0)  # past the interpreter's teardown, where gloo's threads now and then abort a process that is done


@pytest.mark.slow
def test_two_ranks_learn_what_one_learns(tiny_dir: Path, tmp_path: Path) -> None:
    for case in CASES:
        learn(tiny_dir, tmp_path / f"{case} alone", case)
    in_ranks(one_rank, 2, free_port(), tiny_dir, tmp_path)
    for case in CASES:
        alone, together = tmp_path / f"{case} alone", tmp_path / f"{case} together"
        values = [torch.load(folder / "values.pt") for folder in (alone, together)]
        assert torch.allclose(*values, rtol=1e-6), (case, values)
        assert_close(*(load_file(folder / "model.safetensors") for folder in (alone, together)))


@pytest.mark.parametrize(
    ("case", "moves"), [("full", {"visual", "language_model"}), ("frozen tower", {"language_model"}),
                        ("lora", {"language_model"})]
)  # fmt: skip
def test_what_is_trained_is_handed_on(tiny_dir: Path, tmp_path: Path, case: str, moves: set[str]) -> None:
    """As the recipe's learner trains it, adapters merged: a folder of the same weights that loads."""
    learner = make(tiny_dir, cold_start(warmup_steps=0), **CASES[case])
    learner.update(demonstrations()[:3])
    learner.save(tmp_path)
    assert (tmp_path / "processor.txt").exists()
    after, before = (load_policy(folder, torch.float64).state_dict() for folder in (tmp_path, tiny_dir))
    assert after.keys() == before.keys()
    moved = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert {part for part in ("visual", "language_model") if any(part in name for name in moved)} == moves


def test_an_update_with_a_gradient_that_is_not_finite_changes_nothing(tiny_dir: Path) -> None:
    learner = make(tiny_dir, cold_start(warmup_steps=0))
    model, rows = learner._policies.model, demonstrations()
    broken = model.lm_head.weight.detach()
    kept, broken[7, 0] = float(broken[7, 0]), math.inf
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert learner.update(rows[:2])["skipped_updates"] == 1
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    broken[7, 0] = kept
    assert learner.update(rows[:2])["skipped_updates"] == 0
