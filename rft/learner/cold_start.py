"""The supervised stage before GRPO, on trl.SFTTrainer, with clips and images through our own collator."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from datasets import Dataset
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl import SFTConfig, SFTTrainer

from rft.data.processor import PromptProcessor
from rft.data.video import ClipCache
from rft.learner.batch import prompt_positions
from rft.learner.model import load_policy
from rft.recipe import ColdStartRecipe, Recipe
from rft.types import Demonstration, Image

IGNORED = -100
"""Label of tokens without loss."""

LOG_EVERY = 10
"""Steps between two reported losses."""


def run_cold_start(
    recipe: Recipe,
    cold: ColdStartRecipe,
    demonstrations: Sequence[Demonstration],
    processor: PromptProcessor,
    clips: ClipCache,
    directory: Path,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> None:
    """Train recipe.model on the demonstrations; writes a Hugging Face folder to `directory`.

    `on_step(step, mean loss since the last report)` is called every few steps. All weights are trained.
    """
    bfloat16 = recipe.learner.dtype == "bfloat16"
    # float32 weights, as the GRPO learner keeps them; bfloat16 is what they are multiplied in.
    model = load_policy(
        recipe.model,
        torch.float32,
        gradient_checkpointing=recipe.learner.gradient_checkpointing,
        freeze_vision=recipe.learner.freeze_vision,
    )
    trainer = SFTTrainer(
        model=model,
        args=training_arguments(cold, recipe.seed, directory, bfloat16),
        train_dataset=Dataset.from_dict({"place": list(range(len(demonstrations)))}),
        data_collator=DemonstrationCollator(demonstrations, processor, clips, model, cold.loss_on),
        processing_class=processor.tokenizer,
        callbacks=[ReportLoss(on_step)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    model.to(torch.bfloat16 if bfloat16 else torch.float32).save_pretrained(directory)
    processor.save(directory)


def training_arguments(cold: ColdStartRecipe, seed: int, directory: Path, bfloat16: bool) -> SFTConfig:
    """Nothing is written but the final weights."""
    is_linear = cold.lr_scheduler_type == "linear"
    return SFTConfig(
        output_dir=str(directory),
        max_steps=cold.steps,
        per_device_train_batch_size=cold.rows_per_step,
        learning_rate=cold.learning_rate,
        lr_scheduler_type="linear" if is_linear else "cosine_with_min_lr",
        lr_scheduler_kwargs={} if is_linear else {"min_lr_rate": 0.1},
        warmup_steps=cold.warmup_steps,
        weight_decay=cold.weight_decay,
        adam_beta2=cold.adam_beta2,
        max_grad_norm=1.0,
        seed=seed,
        bf16=bfloat16,
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=False,  # set on the model as it was loaded
        max_length=None,
        # The rows are places in the list of demonstrations; the collator makes the tensors.
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        logging_steps=LOG_EVERY,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """Tensors of one demonstration, L tokens."""

    ids: Tensor
    """[L]"""
    labels: Tensor
    """[L]"""
    positions: Tensor
    """[L, 3], of M-RoPE."""
    patches: Tensor | None
    grid: Tensor | None
    is_image: bool


class DemonstrationCollator:
    """Places in a list of demonstrations -> padded model inputs with labels on what is learned."""

    def __init__(
        self,
        demonstrations: Sequence[Demonstration],
        processor: PromptProcessor,
        clips: ClipCache,
        model: PreTrainedModel,
        loss_on: Literal["completion", "all"] = "completion",
    ) -> None:
        """`loss_on`: the recipe's; vision tokens and padding are never learned."""
        self._without_loss = frozenset(processor.banned_token_ids)
        self._loss_on = loss_on
        self._demonstrations = demonstrations
        self._processor, self._clips, self._model = processor, clips, model

    def __call__(self, rows: Sequence[dict[str, int]]) -> dict[str, Tensor]:
        """input_ids, attention_mask, labels [B, L]; position_ids [3, B, L]; patches and grids of clips and images."""
        encoded = [self._encode(self._demonstrations[row["place"]]) for row in rows]
        inputs = {
            "input_ids": pad_sequence([e.ids for e in encoded], True, padding_value=self._processor.eos_token_id),
            "attention_mask": pad_sequence([torch.ones_like(e.ids) for e in encoded], True),
            "labels": pad_sequence([e.labels for e in encoded], True, padding_value=IGNORED),
            "position_ids": pad_sequence([e.positions for e in encoded], True).permute(2, 0, 1),
        }
        for is_image, patches, grid in (
            (False, "pixel_values_videos", "video_grid_thw"),
            (True, "pixel_values", "image_grid_thw"),
        ):
            shown = [(e.patches, e.grid) for e in encoded if e.is_image == is_image]
            pairs = [(pixels, size) for pixels, size in shown if pixels is not None and size is not None]
            if pairs:
                inputs |= {patches: torch.cat([pixels for pixels, _ in pairs])}
                inputs |= {grid: torch.cat([size for _, size in pairs])}
        return inputs

    def _encode(self, shown: Demonstration) -> EncodedRow:
        inputs = self._processor.encode(shown.prompt, self._clips.load(shown.prompt.media))
        answer = self._processor.completion_ids(shown.completion)
        prompt = prompt_positions(self._model, inputs.token_ids, inputs.grid, inputs.seconds_per_grid)
        return EncodedRow(
            ids=torch.tensor([*inputs.token_ids, *answer]),
            labels=torch.tensor([*(self._prompt_label(token) for token in inputs.token_ids), *answer]),
            positions=torch.cat([prompt, prompt[:, -1:] + torch.arange(1, len(answer) + 1)], dim=1).T,
            patches=inputs.patches,
            grid=inputs.grid,
            is_image=isinstance(shown.prompt.media, Image),
        )

    def _prompt_label(self, token: int) -> int:
        return IGNORED if self._loss_on == "completion" or token in self._without_loss else token


class ReportLoss(TrainerCallback):  # type: ignore[misc]  # transformers is not followed by the type checker
    """Hands the trainer's logged losses on."""

    def __init__(self, on_step: Callable[[int, float], None]) -> None:
        self._on_step = on_step

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, Any], **_: object
    ) -> None:
        if "loss" in logs:
            self._on_step(state.global_step, float(logs["loss"]))


def progress_writer(path: Path) -> Callable[[int, float], None]:
    """For `on_step`: one JSON line each, which another process reads as the stage goes on."""

    def write(step: int, loss: float) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "loss": loss}) + "\n")

    return write
