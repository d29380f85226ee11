"""Two learner processes against one."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from forked import in_ranks
from safetensors.torch import load_file, save_file
from tiny_policy import FakeClips, FakeProcessor, recipe, three_groups

from rft.learner.learner import Learner
from rft.learner.sharding import init_distributed
from rft.types import TrainGroup

LORA = {"lora": {"r": 2, "lora_alpha": 4}}
CASES: dict[str, dict[str, object]] = {
    "full": {"algorithm": {"beta": 0.1, "num_iterations": 2}},
    "mini_batches": {"algorithm": {"beta": 0.1, "num_mini_batches": 2}},
    "checkpointed": {"learner": {"gradient_checkpointing": True, "logprob_chunk": 3, "max_tokens_per_forward": 1}},
    "lora": {"learner": LORA, "algorithm": {"beta": 0.1}},
    "offloaded": {"learner": {"offload_optimizer": True}},
}
SHARING = ("full", "checkpointed", "lora")
"""Cases in which the two processes also share each prompt."""


def learn(model_dir: Path, out: Path, case: str, context: int = 1, replicas: int = 1) -> Learner:
    """Two updates (the second of one group, so that one of two ranks has none), a save, one more, the weights."""
    batch = three_groups()
    learner = make(model_dir, case, context, replicas)
    lines = [learner.update(batch), learner.update(batch[:2])]
    learner.save(out / "saved")
    weights, probe = learner.state_dict_for_rollout()
    if weights:
        save_file(weights, out / "weights.safetensors")
        names = ("loss", "kl", "entropy", "grad_norm", "logprob_gap", "num_tokens", "num_completions")
        values = [line.get(name, 0.0) for line in lines for name in names]
        torch.save(torch.tensor(values + list(probe.logprobs), dtype=torch.float64), out / "values.pt")
    return learner


def make(model_dir: Path, case: str, context: int = 1, replicas: int = 1) -> Learner:
    settings = recipe(**CASES[case])
    learner = settings.learner.model_copy(update={"context_parallel": context, "num_replicas": replicas})
    settings = settings.model_copy(update={"learner": learner})
    return Learner(model_dir, settings, FakeProcessor(), FakeClips(), total_updates=4, dtype=torch.float64)


@dataclass(frozen=True)
class Done:
    """What one process and two together have done."""

    alone: dict[str, Learner]
    """By case: the learner of one process, after its updates."""
    folder: Path
    """CASE/alone, CASE/together, CASE/shared: what they wrote."""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, tiny_dir: Path) -> Done:
    """All cases; the two processes are started once."""
    folder = tmp_path_factory.mktemp("ranks")
    for case in CASES:
        for who in ("alone", "together", "shared"):
            (folder / case / who).mkdir(parents=True)
    alone = {case: learn(tiny_dir, folder / case / "alone", case) for case in CASES}
    in_ranks(one_rank, 2, free_port(), tiny_dir, folder)
    return Done(alone, folder)


def one_rank(rank: int, port: int, model_dir: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    init_distributed(rank, 2, "127.0.0.1", port, torch.device("cpu"))
    for case in CASES:
        learn(model_dir, folder / case / "together", case)
        if case in SHARING:
            learn(model_dir, folder / case / "shared", case, context=2)
        # What one process saved continues on two.
        resumed = make(model_dir, case)
        resumed.load(folder / case / "alone" / "saved")
        resumed.update(batch_after_resume())
        weights, _ = resumed.state_dict_for_rollout()
        if rank == 0:
            save_file(weights, folder / case / "together" / "resumed.safetensors")
    resume_lean(rank, model_dir, folder)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    # Past the interpreter's teardown, where gloo's threads now and then abort a process that has done its work.
    os._exit(0)


def batch_after_resume() -> tuple[TrainGroup, ...]:
    return three_groups()[2:]


@pytest.mark.slow
@pytest.mark.parametrize("case", sorted(CASES))
def test_two_ranks_learn_what_one_learns(done: Done, case: str, tiny_dir: Path) -> None:
    alone, together = done.folder / case / "alone", done.folder / case / "together"
    assert_close(load_file(alone / "weights.safetensors"), load_file(together / "weights.safetensors"))
    values = [torch.load(folder / "values.pt") for folder in (alone, together)]
    assert torch.allclose(values[0], values[1], rtol=1e-6, atol=1e-9), values
    policies = [load_file(folder / "saved" / "policy" / "model.safetensors") for folder in (alone, together)]
    assert_close(*policies)
    # What one went on with, and what two saved, continued on one.
    resumed = make(tiny_dir, case)
    resumed.load(together / "saved")
    for learner in (done.alone[case], resumed):
        learner.update(batch_after_resume())
        assert_close(learner.state_dict_for_rollout()[0], load_file(together / "resumed.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize("case", SHARING)
def test_two_ranks_that_share_each_prompt_learn_what_one_learns(done: Done, case: str) -> None:
    alone, shared = done.folder / case / "alone", done.folder / case / "shared"
    assert_close(load_file(alone / "weights.safetensors"), load_file(shared / "weights.safetensors"))
    values = [torch.load(folder / "values.pt") for folder in (alone, shared)]
    assert torch.allclose(values[0], values[1], rtol=1e-6, atol=1e-9), values


def resume_lean(rank: int, model_dir: Path, folder: Path) -> None:
    lean = {"master_dtype": "bfloat16", "optimizer_dtype": "bfloat16", "offload_optimizer": True}
    settings = recipe(learner={"dtype": "bfloat16", "learning_rate": 1e-3} | lean)
    found = []
    for resumed in (False, True):
        learner = Learner(model_dir, settings, FakeProcessor(), FakeClips(), total_updates=4)
        if resumed:
            learner.load(folder / "lean")
        else:
            learner.update(three_groups())
            learner.save(folder / "lean")
        learner.update(batch_after_resume())
        found.append(learner.state_dict_for_rollout()[0])
    if rank == 0:
        torch.save(found, folder / "lean.pt")


@pytest.mark.slow
def test_two_ranks_resume_states_in_bfloat16_to_the_last_bit(done: Done) -> None:
    through, resumed = torch.load(done.folder / "lean.pt")
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in through.items())


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def assert_close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        if not name.startswith("random/"):
            assert torch.allclose(tensor, other[name], rtol=1e-5, atol=1e-6), (name, (tensor - other[name]).abs().max())
