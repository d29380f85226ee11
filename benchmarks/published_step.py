"""A step of GRPO as VideoChat-R1's released code goes about it, written anew from a description of it.

One prompt at a time: the processor runs for the generation and again for each log-probability pass; `generate` of
transformers draws the group; policy and a separate frozen reference each see the prompt and the video once per
completion, with logits for every token; no ratio, the k3 estimate of the KL, means over each completion, then over
the group. The passes leave out the seconds between frames, as there. Left out of that code: gradient checkpointing,
bfloat16 and offloading, which would only make it slower here.
"""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.video_utils import VideoMetadata

from rewards import REWARDS
from rft.clock import Clock
from rft.data.frames import Frames
from rft.data.processor import VISION_TOKENS
from rft.data.video import decode
from rft.tasks import TASKS
from rft.types import Prompt

LEARNING_RATE = 1e-6


class PublishedStep:
    """Policy, reference and optimizer of a run."""

    def __init__(self, model_dir: Path, group: int, completion_tokens: int, beta: float) -> None:
        self._group, self._beta = group, beta
        self._processor = AutoProcessor.from_pretrained(model_dir)
        self.policy = AutoModelForImageTextToText.from_pretrained(model_dir, dtype=torch.float32)
        self._reference = AutoModelForImageTextToText.from_pretrained(model_dir, dtype=torch.float32)
        self._reference.requires_grad_(False)
        self._optimizer = torch.optim.AdamW(self.policy.parameters(), lr=LEARNING_RATE)
        tokenizer = self._processor.tokenizer
        self.eos_token_id: int = tokenizer.eos_token_id
        self._generation = {
            "max_new_tokens": completion_tokens,
            "num_return_sequences": group,
            "do_sample": True,
            "temperature": 1.0,
            "top_k": 0,  # there 50; without, completions are as long as those of the others
            "eos_token_id": self.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            # A trained policy never samples them; sampled, they would stand for pixels that are not there.
            "suppress_tokens": tokenizer.convert_tokens_to_ids(list(VISION_TOKENS)),
        }
        self.clock = Clock()
        self.num_tokens: list[int] = []
        """Of every completion so far."""
        self.num_prompt_tokens: list[int] = []

    def step(self, prompts: Sequence[Prompt]) -> float:
        """One optimizer update on the groups of `prompts`; returns the seconds it took."""
        begun = time.perf_counter()
        for prompt in prompts:
            with self._phase("decode"):
                frames = decode(prompt.media)
            inputs = self.inputs(prompt, frames)
            self.num_prompt_tokens.append(inputs["input_ids"].shape[1])
            with self._phase("generate"), torch.no_grad():
                token_ids = self.policy.generate(**inputs, **self._generation)
            completions = token_ids[:, inputs["input_ids"].shape[1] :]
            mask = until_end(completions, self.eos_token_id)
            self.num_tokens += mask.sum(1).tolist()
            with self._phase("rewards"):
                rewards = self._rewards(prompt, completions)
            loss = self.loss(prompt, frames, token_ids, mask, rewards)
            with self._phase("backward"):
                (loss / len(prompts)).backward()
        with self._phase("optimizer"):
            torch.nn.utils.clip_grad_norm_(self.policy.parameters(), 1.0)
            self._optimizer.step()
            self._optimizer.zero_grad()
        return time.perf_counter() - begun

    def loss(self, prompt: Prompt, frames: Frames, token_ids: Tensor, mask: Tensor, rewards: Tensor) -> Tensor:
        """Of one group: prompt and completions [G, L], the completions' mask [G, T], rewards [G]."""
        with self._phase("policy pass"):
            policy = self._logprobs(self.policy, prompt, frames, token_ids, mask)
        with self._phase("reference pass"), torch.no_grad():
            reference = self._logprobs(self._reference, prompt, frames, token_ids, mask)
        advantages = (rewards - rewards.mean()) / (rewards.std() + 1e-4)
        kl = torch.exp(reference - policy) - (reference - policy) - 1
        per_token = torch.exp(policy - policy.detach()) * advantages[:, None] - self._beta * kl
        return -((per_token * mask).sum(1) / mask.sum(1)).mean()

    def _logprobs(self, model: Any, prompt: Prompt, frames: Frames, token_ids: Tensor, mask: Tensor) -> Tensor:
        """Of the completions' tokens, [G, T]."""
        one = self.inputs(prompt, frames)
        num_prompt, group = one["input_ids"].shape[1], self._group
        kinds = torch.zeros_like(token_ids)
        kinds[:, :num_prompt] = one["mm_token_type_ids"]
        logits = model(
            input_ids=token_ids,
            attention_mask=torch.cat([one["attention_mask"].repeat(group, 1), mask], dim=1),
            pixel_values_videos=one["pixel_values_videos"].repeat(group, 1),
            video_grid_thw=one["video_grid_thw"].repeat(group, 1),
            mm_token_type_ids=kinds,
        ).logits[:, :-1]
        wanted = token_ids[:, 1:]
        rows = [row.log_softmax(-1).gather(1, ids[:, None])[:, 0] for row, ids in zip(logits, wanted, strict=True)]
        return torch.stack(rows)[:, num_prompt - 1 :]

    def inputs(self, prompt: Prompt, frames: Frames) -> dict[str, Any]:
        """The processor's, with the seconds between frames."""
        with self._phase("processor"):
            content = [{"type": "text", "text": prompt.text}, {"type": "video"}]
            text = self._processor.apply_chat_template(
                [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
            )
            metadata = VideoMetadata(
                total_num_frames=frames.num_source_frames,
                fps=frames.source_fps,
                duration=frames.duration_s,
                frames_indices=list(frames.frame_indices),
            )
            return dict(
                self._processor(
                    text=[text],
                    videos=[frames.pixels],
                    video_metadata=[metadata],
                    do_sample_frames=False,
                    do_resize=False,
                    cap_pixels_per_frame=False,
                    return_tensors="pt",
                )
            )

    def _rewards(self, prompt: Prompt, completions: Tensor) -> Tensor:
        texts = self._processor.tokenizer.batch_decode(completions, skip_special_tokens=True)
        names = list(TASKS[prompt.task].default_rewards(True))
        return torch.tensor([sum(REWARDS[name](text, prompt.target).value for name in names) for text in texts])

    def _phase(self, name: str) -> AbstractContextManager[None]:
        return self.clock.phase(name)


def until_end(completions: Tensor, eos: int) -> Tensor:
    """1 up to the first end token, which counts, and 0 behind it."""
    ended = (completions == eos).long().cumsum(1)
    return ((ended - (completions == eos).long()) == 0).long()
