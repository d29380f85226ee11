"""Real Ray and vLLM on a tiny policy: what is sampled, what a weight load changes, what survives a killed worker."""

import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import psutil
import pytest
import ray
import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen2_5_VLForConditionalGeneration

from rewards.targets.span import SpanTarget
from rft.actors.cluster import cluster, gpu_options
from rft.actors.rollout import start_pool
from rft.data.dataset import usable_rows
from rft.data.patches import scaled
from rft.data.processor import PromptProcessor
from rft.data.video import ClipCache
from rft.errors import Interrupted, RolloutError
from rft.evaluation.lmms_requests import Request, rows_asked
from rft.learner.batch import prompt_positions
from rft.recipe import DataRecipe, Recipe, RolloutRecipe
from rft.rollout.pool import WorkerPool
from rft.scoring.group_metrics import versions_drawn
from rft.synthetic.clips import Scene, Shape, write_clip
from rft.synthetic.policy import build_policy
from rft.types import Completion, Prompt, Sampling, Video
from rft.weights.ref import Probe, StoredWeights, WeightsRef

pytestmark = pytest.mark.slow

GROUP = Sampling(num_generations=8, temperature=1.0, top_p=1.0, top_k=0, max_completion_length=24)
GREEDY = Sampling(num_generations=1, temperature=0.0, top_p=1.0, top_k=0, max_completion_length=24)
PROBE_IDS = tuple(range(40, 72))
MODEL_LEN = 192
BLOCK = 32
LONG = 96
LOGPROB_GAP = 1e-3
"""float32 noise of two implementations on peaked random weights is a tenth of it; any real difference is far more."""


@dataclass
class Engines:
    """The pool under test, and what its engine holds."""

    pool: WorkerPool
    recipe: Recipe
    processor: PromptProcessor
    clips: ClipCache
    policies: tuple[Path, Path]
    folder: Path
    holds: int = 0
    """Which policy, and its version."""
    stop: bool = False

    def prompt(self, index: int, text: str = "When does the shape move?") -> Prompt:
        path = self.folder / f"clip{index}.mp4"
        if not path.exists():
            shape = Shape("red", "circle", 0.15, (0.1, 0.1 * (index + 1)), (0.9, 0.5), (0.5, 3.0))
            write_clip(Scene((shape,), Fraction(8), 4.0, texture_seed=index), path)
        video = Video(path, self.recipe.video.sampling())
        return Prompt(f"p{index}", "temporal_grounding", text, video, SpanTarget(1.0, 2.0))

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling = GROUP, seed: int = 0
    ) -> dict[int, tuple[Completion, ...]]:
        return dict(self.pool.generate(prompts, sampling, seed))

    def load(self, which: int, probe_of: int | None = None, moving: str = "") -> float:
        """`moving`: only weights with this in their name are handed over; the rest is in the policy's folder."""
        self.holds = which
        return self.pool.load_weights(self.weights(which, probe_of, moving))

    def weights(self, which: int, probe_of: int | None = None, moving: str = "") -> WeightsRef:
        """Of a policy, in the object store."""
        model = hf_model(self.policies[which if probe_of is None else probe_of])
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([PROBE_IDS])).logits[0].log_softmax(-1)
        logprobs = tuple(logits[i, token].item() for i, token in enumerate(PROBE_IDS[1:]))
        tensors = load_file(self.policies[which] / "model.safetensors")
        moved = ray.put({name: tensor for name, tensor in tensors.items() if moving in name})
        folder = str(self.policies[which]) if moving else None
        return WeightsRef(which, StoredWeights(moved), Probe(PROBE_IDS, logprobs), model=folder)

    def learner_logprobs(
        self, prompt: Prompt, completion: Completion, temperature: float, policy: int | None = None
    ) -> torch.Tensor:
        """[T], by the model class, under the distribution that vLLM samples from. `policy`: default the one held."""
        inputs = self.processor.encode(prompt, self.clips.load(prompt.media))
        ids = torch.tensor([[*inputs.token_ids, *completion.token_ids]])
        model = hf_model(self.policies[self.holds if policy is None else policy])
        places = prompt_positions(model, inputs.token_ids, inputs.grid, inputs.seconds_per_grid)
        after = torch.arange(len(completion.token_ids)).expand(3, -1) + places.max() + 1
        with torch.no_grad():
            logits = model(
                input_ids=ids,
                position_ids=torch.cat([places, after], dim=1)[:, None],
                pixel_values_videos=scaled(inputs.patches, inputs.scale),
                video_grid_thw=inputs.grid,
                second_per_grid_ts=inputs.seconds_per_grid,
            ).logits[0, len(inputs.token_ids) - 1 : -1]
        logits[:, list(self.processor.banned_token_ids)] = -math.inf
        return (logits / temperature).log_softmax(-1).gather(1, torch.tensor([completion.token_ids]).T)[:, 0]


@cache
def hf_model(folder: Path) -> Qwen2_5_VLForConditionalGeneration:
    return Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")


def peaked_policy(folder: Path, seed: int) -> Path:
    """Random weights away from the flat start, so that pixels and positions move the probabilities."""
    build_policy(folder, seed)
    path = folder / "model.safetensors"
    tensors = {name: tensor * 3.0 if tensor.ndim > 1 else tensor.clone() for name, tensor in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    folder = tmp_path_factory.mktemp("rollout")
    policies = (peaked_policy(folder / "a", 0), peaked_policy(folder / "b", 1))
    recipe = Recipe.model_validate(
        {
            "model": str(policies[0]),
            "tasks": {"temporal_grounding": {}},
            "data": {"train": ["rows.jsonl"]},
            "steps": 1,
            "video": {"min_pixels": 56 * 56, "max_pixels": 56 * 56},
            "rollout": {
                "max_model_len": MODEL_LEN,
                "kv_cache_gib": 0.25,
                "max_restarts": 1,
                "ahead": 1,
                "partial": True,
            },
            "learner": {"dtype": "float32"},
        }
    )
    earlier = set(psutil.Process().children(recursive=True))  # of tests before this one
    with cluster(), closing(ClipCache(folder / "cache", 1.0)) as clips:
        pool = start_pool(str(policies[0]), recipe, folder / "cache", lambda: found.stop)
        found = Engines(pool, recipe, PromptProcessor(str(policies[0])), clips, policies, folder)
        yield found
        family = set(psutil.Process().children(recursive=True)) - earlier
        pool.close()
    assert not any(process.is_running() for process in family)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_are_those_of_the_model_class(engines: Engines, temperature: float) -> None:
    sampling = replace(GROUP, temperature=temperature)
    prompts = [engines.prompt(i) for i in range(2)]
    gaps = []
    for index, group in engines.generate(prompts, sampling).items():
        assert len(group) == 8
        for completion in group:
            expected = engines.learner_logprobs(prompts[index], completion, temperature)
            gaps.append(torch.tensor(completion.logprobs).sub(expected).abs().max().item())
    print(f"largest log-probability gap: {max(gaps):.1e}")
    assert max(gaps) < LOGPROB_GAP


def test_lmms_eval_gets_the_tokens_of_rft_eval(engines: Engines, tmp_path: Path) -> None:
    asked = [("the circle moves", 0), ("the circle", 0), ("the circle moves", 1)]
    rows = [
        {
            "id": f"{clip} {query}",
            "task": "temporal_grounding",
            "query": query,
            "video": str(engines.prompt(clip).media.path),
            "target": {"span": [1.0, 2.0]},
        }
        for query, clip in asked
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = engines.recipe.model_copy(update={"data": DataRecipe(train=(), eval=(path,))})
    ours = [row.prompt for row in usable_rows([path], recipe, engines.clips)]
    requests = [
        Request(f"task:{number}", f"When, in words: {query}?", {"video": f"clip{clip}.mp4", "times": "1 - 2"})
        for number, (query, clip) in reversed(list(enumerate(asked)))
    ]
    theirs = [row.prompt for row in rows_asked(requests, recipe)]
    tokens = [[group[0].token_ids for _, group in sorted(engines.generate(some, GREEDY).items())]
              for some in (ours, theirs)]  # fmt: skip
    assert tokens[0] == tokens[1][::-1]
    assert len(set(tokens[0])) == 3


@pytest.fixture(scope="module")
def long_groups(engines: Engines) -> list[tuple[Completion, ...]]:
    """Of prompts 0 and 1, long ones drawn nearly evenly from all tokens."""
    sampling = replace(GROUP, num_generations=64, temperature=2.0, max_completion_length=LONG)
    groups = engines.generate([engines.prompt(i) for i in range(2)], sampling)
    return [groups[i] for i in range(2)]


def test_vision_tokens_are_never_sampled(engines: Engines, long_groups: list[tuple[Completion, ...]]) -> None:
    tokens = [token for group in long_groups for completion in group for token in completion.token_ids]
    banned = set(engines.processor.banned_token_ids)
    expected = len(tokens) * len(banned) / len(engines.processor.tokenizer)
    assert len(banned) == 5
    assert expected > 20, "too few tokens to tell"
    assert not banned & set(tokens)


def test_a_completion_ends_at_its_end_token_or_at_the_limit(
    engines: Engines, long_groups: list[tuple[Completion, ...]]
) -> None:
    ends = {"stop": 0, "length": 0}
    prompt = engines.prompt(0)
    encoded = engines.processor.encode(prompt, engines.clips.load(prompt.media))
    for completion in long_groups[0]:
        assert completion.finish_reason != "error", engines.pool.failed()
        ends[completion.finish_reason] += 1
        stopped = completion.token_ids[-1] == engines.processor.eos_token_id
        assert stopped or (completion.finish_reason == "length" and len(completion.token_ids) == LONG)
        assert completion.num_prompt_tokens == len(encoded.token_ids)
    assert min(ends.values()) > 0


def test_the_same_seed_draws_the_same_and_a_group_differs(engines: Engines) -> None:
    prompts = [engines.prompt(i) for i in range(3)]
    first, again, other = (engines.generate(prompts, seed=seed) for seed in (5, 5, 6))
    assert {i: [c.token_ids for c in g] for i, g in first.items()} == {
        i: [c.token_ids for c in g] for i, g in again.items()
    }
    assert first[0][0].token_ids != other[0][0].token_ids
    assert len({c.token_ids for group in first.values() for c in group}) == 24


def test_a_group_shares_one_prefill_and_one_encoded_clip(engines: Engines) -> None:
    engines.pool.counters()
    prompt = engines.prompt(7)
    num_tokens = engines.generate([prompt])[0][0].num_prompt_tokens
    first = engines.pool.counters()
    assert first["prefix_cache_queries"] == 8 * num_tokens
    assert first["prefix_cache_hits"] == 7 * ((num_tokens - 1) // BLOCK * BLOCK)
    assert (first["clip_cache_queries"], first["clip_cache_hits"]) == (1, 0)
    engines.generate([prompt], seed=1)
    second = engines.pool.counters()
    assert second["prefix_cache_hits"] == 8 * ((num_tokens - 1) // BLOCK * BLOCK)
    assert (second["clip_cache_queries"], second["clip_cache_hits"]) == (1, 1)
    assert (first["clips/decodes"], second["clips/decodes"]) == (1, 0)


def test_bad_prompts_fail_alone(engines: Engines) -> None:
    missing = engines.prompt(1)
    missing = replace(missing, prompt_id="gone", media=replace(missing.media, path=Path("/nowhere.mp4")))
    long = replace(engines.prompt(1, text="very long " * MODEL_LEN), prompt_id="long")
    groups = engines.generate([missing, engines.prompt(0), long])
    assert [[c.finish_reason for c in groups[i]] for i in (0, 2)] == [["error"] * 8] * 2
    assert "error" not in {c.finish_reason for c in groups[1]}
    problems = {f.prompt_id: f.problem for f in engines.pool.failed()}
    assert "/nowhere.mp4" in problems["gone"]
    assert str(MODEL_LEN) in problems["long"]
    assert engines.pool.counters()["failed_requests"] == 2


def test_new_weights_are_served_and_known_clips_seen_anew(engines: Engines) -> None:
    prompts = [engines.prompt(i) for i in range(2)]
    before = engines.generate(prompts, GREEDY)
    started = time.monotonic()
    assert engines.load(1) < LOGPROB_GAP
    print(f"weights loaded and probed in {time.monotonic() - started:.3f} s")
    after = engines.generate(prompts, GREEDY)
    assert [after[i][0].policy_version for i in (0, 1)] == [1, 1]
    assert all(before[i][0].token_ids != after[i][0].token_ids for i in (0, 1))
    test_logprobs_are_those_of_the_model_class(engines, 1.0)
    assert engines.load(0) < LOGPROB_GAP
    again = engines.generate(prompts, GREEDY)
    assert [again[i][0].token_ids for i in (0, 1)] == [before[i][0].token_ids for i in (0, 1)]


def test_completions_go_on_under_new_weights_and_each_token_has_the_logprob_of_its_policy(engines: Engines) -> None:
    """More completions than the engine decodes at a time: of some groups the first ones, which brought the clip, are
    done when weights arrive."""
    prompts = [engines.prompt(i) for i in range(8)]
    weights = [engines.weights(which) for which in (0, 1)]
    groups = engines.pool.generate(prompts, replace(GROUP, num_generations=24, max_completion_length=LONG), 0)
    found = {}
    for which in (1, 0, 1):
        found |= dict([next(groups)])
        assert engines.pool.load_weights(weights[which]) < LOGPROB_GAP
    found |= dict(groups)
    assert "error" not in {one.finish_reason for group in found.values() for one in group}
    spanning = [(prompts[i], one) for i, group in found.items() for one in group if one.later_versions]
    assert len(spanning) > 8
    for prompt, completion in spanning[::8]:
        drawn = torch.tensor(completion.logprobs)
        both = torch.stack([engines.learner_logprobs(prompt, completion, 1.0, policy) for policy in (0, 1)])
        versions = [version for version, num in versions_drawn(completion) for _ in range(num)]
        of_its_policy = both.gather(0, torch.tensor([versions]))[0]
        assert drawn.sub(of_its_policy).abs().max().item() < LOGPROB_GAP
        assert drawn.sub(both).abs().amax(1).min().item() > 100 * LOGPROB_GAP
    assert engines.load(0) < LOGPROB_GAP


def test_weights_that_do_not_move_come_from_their_folder(engines: Engines) -> None:
    """Pixels tell: the probe is text alone."""
    for which in (1, 0):
        for moving in ("self_attn", "model.layers"):
            assert engines.load(which, moving=moving) < LOGPROB_GAP
            test_logprobs_are_those_of_the_model_class(engines, 1.0)


def test_a_part_of_what_the_engine_fuses_is_noticed(engines: Engines) -> None:
    """The engine replaces fused layers whole: without k and v there is nothing right to put in their place."""
    with pytest.raises(RolloutError, match="does not hold policy version 1"):
        engines.load(1, moving="q_proj")
    assert engines.load(0) < LOGPROB_GAP


def test_stale_weights_are_noticed(engines: Engines) -> None:
    with pytest.raises(RolloutError, match=r"does not hold policy version 0: .* differ"):
        engines.load(0, probe_of=1)
    assert engines.load(0) < LOGPROB_GAP


def test_only_this_machine_can_reach_ray_and_vllm(engines: Engines) -> None:
    engines.pool.wait_until_ready()
    family = {process.pid for process in psutil.Process().children(recursive=True)}
    listening = {c.laddr.ip for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.pid in family}
    assert listening
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}


def test_a_process_asks_for_no_gpu_where_ray_finds_none(engines: Engines) -> None:
    shared = engines.recipe.model_copy(update={"rollout": RolloutRecipe(share_gpu=True)})
    for recipe in (engines.recipe, shared):
        assert gpu_options(recipe, "engine", 1) == {"num_gpus": 0}


def test_a_request_to_stop_is_followed_at_once(engines: Engines) -> None:
    prompts = [engines.prompt(i % 8) for i in range(64)]
    groups = engines.pool.generate(prompts, replace(GROUP, max_completion_length=100), 0)
    next(groups)
    engines.stop = True
    with pytest.raises(Interrupted):
        next(groups)
    engines.stop = False
    assert len(engines.generate(prompts[:2])) == 2


def test_a_killed_worker_is_replaced_and_all_groups_arrive(engines: Engines) -> None:
    engines.load(1, moving="self_attn")
    engines.pool.counters()
    prompts = [engines.prompt(i % 8) for i in range(48)]
    expected = engines.generate(prompts, seed=2)
    groups = engines.pool.generate(prompts, GROUP, seed=2)
    found = dict([next(groups)])
    (worker,) = (p for p in psutil.Process().children(recursive=True) if "RolloutWorker" in p.name())
    worker.kill()
    found |= dict(groups)
    assert sorted(found) == list(range(48))
    assert {c.policy_version for group in found.values() for c in group} == {1}
    assert "error" not in {c.finish_reason for group in found.values() for c in group}
    same = sum(found[i] == expected[i] for i in range(48))
    counts = engines.pool.counters()
    assert counts["restarts"] == 1
    assert counts["resubmitted"] > 0
    assert same > 24, "requests asked again must draw with their own seeds"
    (worker,) = (p for p in psutil.Process().children(recursive=True) if "RolloutWorker" in p.name())
    worker.kill()
    with pytest.raises(RolloutError, match="max_restarts=1 replacements are used up"):
        engines.generate(prompts)
