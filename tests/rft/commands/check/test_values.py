"""rft check: values of a recipe that do not fit each other or the rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rft.commands.check.check import check
from rft.commands.check.values import value_problems
from rft.recipe import Recipe


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"video": {"min_frames": 8, "max_frames": 4}}, "video.min_frames: 8 is more than video.max_frames, 4."),
        ({"video": {"max_pixels": 784}}, "video.min_pixels: 12544 is more than video.max_pixels, 784."),
        ({"prompts_per_step": 9}, "prompts_per_step: a step takes 9 prompts, but data.train has 8 rows. Lower it."),
        ({"learner": {"num_ranks": 9}}, "learner.num_ranks: 9 ranks share 8 groups an update: some would have none."),
        ({"learner": {"num_ranks": 5}, "algorithm": {"num_mini_batches": 2}},
         "learner.num_ranks: 5 ranks share 4 groups an update"),
        ({"learner": {"num_ranks": 18, "context_parallel": 2}}, "learner.num_ranks: 9 times 2 ranks share 8 groups an"),
        ({"learner": {"num_ranks": 4, "context_parallel": 3}},
         "learner.context_parallel: 3 ranks share a prompt, but 4 cannot be split so."),
        ({"learner": {"num_ranks": 9, "context_parallel": 9}},
         "learner.context_parallel: 9 ranks share 8 completions of a prompt: some would have none. Lower it."),
        ({"algorithm": {"num_mini_batches": 9}},
         "algorithm.num_mini_batches: 9 mini-batches share 8 groups a step: some would have none."),
        ({"rollout": {"weight_transfer": "ipc"}}, "rollout.weight_transfer: ipc moves weights between two processes"),
        ({"rollout": {"weight_transfer": "nccl", "share_gpu": True}}, "rollout.weight_transfer: nccl moves weights"),
        ({"rollout": {"num_workers": 2, "share_gpu": True}}, "rollout.num_workers: of 2 engines only 1 would find a"),
        ({"learner": {"warmup_steps": 4}}, "learner.warmup_steps: 4 is not less than the 4 updates of the run"),
        ({"eval": {"every": 2}}, "eval.every: there is nothing to evaluate on."),
        ({"scoring": {"overlong_buffer": 1024}}, "scoring.overlong_buffer: 1024 leaves no completion without penalty"),
        ({"scoring": {"length_bonus": {"reward": "temporal_io"}}},
         "scoring.length_bonus.reward: no task is rewarded by 'temporal_io': the bonus would never be given. "
         "Did you mean 'temporal_iou'?"),
        ({"scoring": {"order_bonus": {"reward": "temporal_io"}}},
         "scoring.order_bonus.reward: no task is rewarded by 'temporal_io': the bonus would never be given. "
         "Did you mean 'temporal_iou'?"),
        ({"scoring": {"length_bonus": {"reward": "think_format", "tokens_low": 600}}},
         "scoring.length_bonus.tokens_low: 600 is more than tokens_high, 512,"),
        ({"scoring": {"length_bonus": {"reward": "think_format"}}, "sampling": {"max_completion_length": 300}},
         "scoring.length_bonus.tokens_low: 320 is more than tokens_high, 512, or than"),
        ({"rollout": {"max_model_len": 2048}}, "rollout.max_model_len: a prompt can have 3,"),
        ({"rollout": {"max_media": 2}, "video": {"again": {"max_frames": 2}}},
         "video.again.min_frames: 4 is more than video.again.max_frames, 2."),
        ({"video": {"again": {"min_frames": 2, "max_frames": 2}}},
         "rollout.max_media: 8 rows, such as "),
        ({"rollout": {"max_media": 2}, "video": {"stream": True, "again": {"min_frames": 2, "max_frames": 2}}},
         "video.again: does not go with video.stream, which needs a clip that is shown once."),
        ({"data": {"train": []}}, "data.train: names no file."),
        ({"data": {"train": ["gone.jsonl"]}}, "data.train: gone.jsonl not found in "),
        ({"cold_start": {"data": ["cold.jsonl"], "steps": 5}}, "cold_start.data: cold.jsonl not found in "),
        ({"cold_start": {"data": ["rows.jsonl"], "steps": 5, "warmup_steps": 5}},
         "cold_start.warmup_steps: 5 is not less than cold_start.steps, 5."),
        ({"steps": 0}, "steps: 0 steps without a cold_start train nothing."),
        ({"algorithm": {"zero_std_groups": "keep", "max_resamples": 2}}, "algorithm.max_resamples: replaces groups"),
        ({"rollout": {"ahead": 2}}, "rollout.ahead: 2 gains nothing where weights wait"),
        ({"rollout": {"partial": True}}, "rollout.partial: nothing is sampled while weights change."),
        ({"rollout": {"ahead": 2, "partial": True}, "algorithm": {"max_resamples": 2}},
         "algorithm.max_resamples: takes prompts that rollout.partial has begun"),
        ({"tasks": {"temporal_grounding": {"frames": "seven"}}},
         "tasks.temporal_grounding.frames: seven goes by boxes, but temporal_grounding answers with none."),
        ({"run_dir": "rows.jsonl"}, "run_dir: rows.jsonl is a file."),
        ({"run_dir": "rows.jsonl/deeper"}, "run_dir: "),
        ({"model": "gone/deep/model"}, "model: folder gone/deep/model not found."),
    ],
)  # fmt: skip
def test_values_that_do_not_fit(make: Callable[..., Recipe], changes: dict[str, Any], problem: str) -> None:
    checked = check(make(**changes), Path("r.yaml"))
    problems = [*map(str, checked.problems), *checked.data_problems]
    assert len(problems) == 1, problems
    assert problems[0].startswith(problem)


def test_weights_kept_in_less_than_they_are_used_in_are_a_problem(make: Callable[..., Recipe]) -> None:
    (problem,) = value_problems(make(learner={"dtype": "float32", "master_dtype": "bfloat16"}))
    assert str(problem).startswith("learner.master_dtype: bfloat16 keeps less of a weight")


@pytest.mark.parametrize(
    ("rollout", "problem"),
    [
        ({"engine": {"enforce_eager": True, "kv_cache_dtype": "fp8"}}, None),
        ({"environment": {"VLLM_USE_V2_MODEL_RUNNER": 0, "NCCL_DEBUG": "INFO"}}, None),
        ({"engine": {"max_model_len": 9}},
         "rollout.engine.max_model_len: is not for a recipe to set here. Set rollout.max_model_len instead."),
        ({"engine": {"logprobs_mode": "raw_logprobs"}},
         "rollout.engine.logprobs_mode: is not for a recipe to set here. Leave it out."),
        ({"engine": {"enforce_eagar": True}},
         "rollout.engine.enforce_eagar: vLLM knows no such name. Did you mean 'enforce_eager'?"),
        ({"environment": {"OMP_NUM_THREADS": 4}},
         "rollout.environment.OMP_NUM_THREADS: is not for a recipe to set here. Set rollout.threads_per_worker "
         "instead."),
        ({"environment": {"VLLM_USE_V3_MODEL_RUNNER": 0}},
         "rollout.environment.VLLM_USE_V3_MODEL_RUNNER: vLLM knows no such name. "
         "Did you mean 'VLLM_USE_V2_MODEL_RUNNER'?"),
    ],
)  # fmt: skip
def test_what_goes_to_vllm_as_it_is(make: Callable[..., Recipe], rollout: dict[str, Any], problem: str | None) -> None:
    assert [str(one) for one in value_problems(make(rollout=rollout))] == ([problem] if problem else [])
