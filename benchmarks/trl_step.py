"""Steps of trl.GRPOTrainer on the same policy and clips, generating by transformers.

It takes images and no video, so a clip goes in as images of its frames. An image has as many tokens as a frame pair:
half of the frames make a prompt as long as the others', all of them one that is nearly twice as long. The images are
decoded before the clock starts.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from datasets import Dataset
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from benchmarks.tiny import SIDE, Workload
from rewards.trl import as_trl_reward
from rft.clock import Clock
from rft.data.video import decode
from rft.tasks import TASKS
from rft.types import Prompt


@dataclass(frozen=True, slots=True)
class TrlSteps:
    """What a run of GRPOTrainer took."""

    seconds: tuple[float, ...]
    """Of each step, the first ones included."""
    phases: dict[str, float]
    """Seconds by phase, of all steps together."""
    prompt_tokens: float
    completion_tokens: float
    """Means over the completions."""


def run(model_dir: Path, work: Workload, prompts: Sequence[Prompt], folder: Path, *, all_frames: bool) -> TrlSteps:
    """One step per `work.prompts` of the prompts. `all_frames`: False: every other frame is an image."""
    num_steps = len(prompts) // work.prompts
    processor = AutoProcessor.from_pretrained(model_dir)
    # The folder's own is for smaller frames; this one takes these as they are.
    processor.image_processor.size = {"shortest_edge": SIDE**2, "longest_edge": SIDE**2}
    model = AutoModelForImageTextToText.from_pretrained(model_dir, dtype=torch.float32)
    stamps = _Stamps()
    trainer = TimedTrainer(
        model=model,
        processing_class=processor,
        reward_funcs=[as_trl_reward(name) for name in TASKS[prompts[0].task].default_rewards(True)],
        train_dataset=_dataset(prompts, every=1 if all_frames else 2),
        callbacks=[stamps],
        args=GRPOConfig(
            output_dir=str(folder / "trl"),
            max_steps=num_steps,
            per_device_train_batch_size=work.group,
            gradient_accumulation_steps=work.prompts,
            num_generations=work.group,
            max_completion_length=work.completion_tokens,
            beta=work.beta,
            learning_rate=1e-6,
            temperature=1.0,
            loss_type="grpo",
            use_cpu=not torch.cuda.is_available(),
            bf16=False,
            gradient_checkpointing=False,
            shuffle_dataset=False,
            logging_strategy="steps",
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        ),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    logs = [line for line in trainer.state.log_history if "completions/mean_length" in line]
    tokens = mean(line["completions/mean_length"] for line in logs)
    phases = trainer.clock.seconds
    phases["the rest"] = stamps.ends[-1] - stamps.begun - sum(phases.values())
    seconds = [end - start for start, end in zip([stamps.begun, *stamps.ends], stamps.ends, strict=False)]
    return TrlSteps(tuple(seconds), phases, mean(trainer.num_prompt_tokens), tokens)


def _dataset(prompts: Sequence[Prompt], every: int) -> Dataset:
    """A row per prompt, with images that are in memory: stored in it, each completion would decode them again."""
    images = [[Image.fromarray(frame) for frame in decode(prompt.media).pixels[::every]] for prompt in prompts]
    targets = [{"span": [prompt.target.start_s, prompt.target.end_s]} for prompt in prompts]  # type: ignore[union-attr]

    def rows(batch: Mapping[str, Sequence[int]]) -> dict[str, list[Any]]:
        chosen = batch["number"]
        return {
            "prompt": [[{"role": "user", "content": prompts[i].text}] for i in chosen],
            "images": [images[i] for i in chosen],
            "target": [targets[i] for i in chosen],
        }

    dataset: Dataset = Dataset.from_dict({"number": list(range(len(prompts)))}).with_transform(rows)
    return dataset


class _Stamps(TrainerCallback):  # type: ignore[misc]
    """When training began, and when each step ended."""

    def __init__(self) -> None:
        self.begun = 0.0
        self.ends: list[float] = []

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self.begun = time.perf_counter()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.ends.append(time.perf_counter())


class TimedTrainer(GRPOTrainer):  # type: ignore[misc]
    """Keeps the seconds of two of its parts, and the lengths of prompts."""

    def __init__(self, **arguments: Any) -> None:
        self.clock = Clock()
        self.num_prompt_tokens: list[int] = []
        super().__init__(**arguments)

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        with self.clock.phase("generate"):
            outputs = super()._generate(*args, **kwargs)
        self.num_prompt_tokens += [len(ids) for ids in outputs[0]]
        return outputs

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        name = "policy pass" if torch.is_grad_enabled() else "reference pass"
        with self.clock.phase(name):
            return super()._get_per_token_logps_and_entropies(*args, **kwargs)
