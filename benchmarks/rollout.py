"""How many tokens a second do rollouts give: against n, with prefix cache on and off, and against workers?

    python -m benchmarks.rollout

First engines in a process of their own, one after the other, on one core: the same number of completions as prompts of
n completions each, with and without vLLM's prefix cache, without which every completion computes its prompt again; and
with every prompt asked as n requests of one completion. Then the pool with Ray, from 1 worker up to one per core, one
thread each. All prompts are new to the engine, and their clips are decoded before the clock starts.
"""

import argparse
import itertools
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks.report import finish
from benchmarks.tiny import WARM_UP, Workload, add_arguments, recipe_keys, workload, write_data
from rft.actors.cluster import cluster
from rft.actors.rollout import engine_environment, start_pool
from rft.data.dataset import read_rows, to_prompt
from rft.data.video import ClipCache
from rft.recipe import Recipe, RolloutRecipe
from rft.tables import TextTable
from rft.types import Prompt

GROUPS = (1, 2, 4, 8, 16)


SMALL, LARGE = 1, 8
"""n of the requests whose prompts are the same."""


@dataclass(frozen=True, slots=True)
class Round:
    """One filling of the engines."""

    tokens: int
    """Sampled."""
    seconds: float


def figures(rounds: Sequence[Round]) -> dict[str, float]:
    return {
        "tokens_per_second": median(one.tokens / one.seconds for one in rounds),
        "seconds": median(one.seconds for one in rounds),
    }


def measure_engine(folder: Path, work: Workload, completions: int, cached: bool) -> dict[str, dict[str, float]]:
    """Of one engine in this process, by completions per request."""
    recipe = Recipe.model_validate(recipe_keys(folder, work, threads_per_worker=1, max_num_seqs=completions))
    from rft.rollout import engine

    make_args = engine.engine_args
    engine.engine_args = lambda *given: make_args(*given) | {"enable_prefix_caching": cached}
    one = engine.Engine(recipe.model, recipe, use_gpu=False)
    clips = ClipCache(folder / "decoded", 1.0)
    shown = [(prompt, clips.load(prompt.media)) for prompt in prompts_of(folder, recipe)]
    number = itertools.count()

    def fill(n: int, requests: int = 1) -> Round:
        """`requests` requests of each prompt, with n completions."""
        sampling = replace(recipe.sampling.sampling(), num_generations=n)
        begun = time.perf_counter()
        futures = []
        for place in range(completions // (n * requests)):
            prompt, frames = shown[place % len(shown)]
            # The engine knows a clip by this name: every prompt is new to it.
            frames = replace(frames, key=f"{frames.key} {next(number)}")
            futures += [one.submit(one.render(prompt, frames), sampling, 64 * next(number)) for _ in range(requests)]
        tokens = sum(len(completion.token_ids) for future in futures for completion in future.result())
        return Round(tokens, time.perf_counter() - begun)

    def measured(n: int, requests: int = 1) -> dict[str, float]:
        one.counters().result()
        found = figures([fill(n, requests) for _ in range(work.steps)])
        counted = one.counters().result()
        queries = counted["prefix_cache_queries"]
        return found | {"prefix_hit_share": counted["prefix_cache_hits"] / queries if queries else 0.0}

    fill(LARGE)  # the first requests are slower
    found = {f"{n}": measured(n) for n in GROUPS if n <= completions}
    found[f"{SMALL}, {LARGE} requests of each prompt"] = measured(SMALL, LARGE)
    clips.close()
    return found


def measure_pool(folder: Path, work: Workload, num_workers: int) -> dict[str, float]:
    """Of the pool with Ray: every round has prompts of its own, with work.group completions."""
    recipe = Recipe.model_validate(recipe_keys(folder, work, threads_per_worker=1, num_workers=num_workers))
    prompts = prompts_of(folder, recipe)
    rounds = []
    with cluster():
        pool = start_pool(recipe.model, recipe, folder / "decoded")
        pool.wait_until_ready()
        for number in range(work.steps + WARM_UP):
            chosen = prompts[number * work.prompts : (number + 1) * work.prompts]
            begun = time.perf_counter()
            answers = list(pool.generate(chosen, recipe.sampling.sampling(), seed=number))
            tokens = sum(len(completion.token_ids) for _, group in answers for completion in group)
            rounds.append(Round(tokens, time.perf_counter() - begun))
        pool.close()
    return figures(rounds[WARM_UP:])


def prompts_of(folder: Path, recipe: Recipe) -> list[Prompt]:
    return [to_prompt(row, recipe) for row in read_rows(recipe.data.train, None, recipe.tasks)]


def decode_all(folder: Path, work: Workload) -> None:
    clips = ClipCache(folder / "decoded", 1.0)
    for prompt in prompts_of(folder, Recipe.model_validate(recipe_keys(folder, work))):
        clips.load(prompt.media)
    clips.close()


def tables(engine: dict[str, dict[str, dict[str, float]]], pool: dict[str, dict[str, float]]) -> list[TextTable]:
    lines = tuple(
        (
            n,
            f"{engine['on'][n]['tokens_per_second']:,.0f}",
            f"{engine['off'][n]['tokens_per_second']:,.0f}",
            f"{engine['on'][n]['tokens_per_second'] / engine['off'][n]['tokens_per_second']:.2f}",
            f"{engine['on'][n]['prefix_hit_share']:.2f}",
        )
        for n in engine["on"]
    )
    columns = ("completions per request", "tokens/s, cache on", "off", "on over off", "prefix tokens found")
    workers = tuple((n, f"{of['tokens_per_second']:,.0f}", f"{of['seconds']:.3f}") for n, of in pool.items())
    return [
        TextTable("One engine, one core: completions of new prompts", columns, lines),
        TextTable("The pool, one thread per worker", ("workers", "tokens/s", "seconds per round"), workers),
    ]


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add_arguments(parser, steps=3)
    parser.add_argument("--completions", type=int, default=64, help="at one time in the one engine")
    parser.add_argument("--workers", type=int, nargs="+", default=range(1, len(os.sched_getaffinity(0)) + 1))
    arguments = parser.parse_args(argv)
    work = workload(arguments)
    # An engine has a process of its own, and torch and vLLM read the environment as they are imported there.
    os.environ.update(engine_environment(RolloutRecipe(), use_gpu=False, offline=True, threads=1))
    spawn = multiprocessing.get_context("spawn")
    engine = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder, work.num_clips)
        decode_all(folder, work)
        with ProcessPoolExecutor(1, mp_context=spawn) as process:
            for cache in ("on", "off"):
                asked = process.submit(measure_engine, folder, work, arguments.completions, cache == "on")
                engine[cache] = asked.result()
        pool = {str(number): measure_pool(folder, work, number) for number in arguments.workers}
    result = {
        "question": "sampled tokens per second against completions per request, prefix cache and workers",
        "prompts": work.prompts,
        "group": work.group,
        "max_completion_tokens": work.completion_tokens,
        "completions": arguments.completions,
        "engine": engine,
        "workers": pool,
    }
    return finish("rollout", result, tables(engine, pool), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
