"""vLLM's server of the OpenAI kind, in this process and one that it starts."""

import asyncio
import socket
from typing import Any

from vllm.entrypoints.launchers.api_server.entry import run_server_worker
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser

from rft.recipe.judge import JudgeRecipe

CPU_CACHE_BYTES = 1 << 30
"""Key-value cache on the CPU, where `engine` names no other."""


def serve(judge: JudgeRecipe, listening: socket.socket, use_gpu: bool) -> None:
    """Answer requests at `listening` until the engine fails; by the main thread, which asyncio's signals need."""
    args = make_arg_parser(FlexibleArgumentParser()).parse_args([])
    vars(args).update(server_args(judge, use_gpu))
    args.host, args.port = listening.getsockname()
    asyncio.run(run_server_worker(f"http://{args.host}:{args.port}", listening, args))


def server_args(judge: JudgeRecipe, use_gpu: bool) -> dict[str, Any]:
    """What differs from vLLM's defaults, `judge.engine` last."""
    args: dict[str, Any] = {
        "model": judge.model,
        "served_model_name": [judge.model],
        "max_num_seqs": judge.max_concurrent,
        "override_generation_config": {"max_new_tokens": judge.max_tokens},
        "disable_uvicorn_access_log": True,
    }
    if use_gpu:
        args["tensor_parallel_size"] = judge.gpus
        if judge.gpus > 1:  # in a Ray actor vLLM may else take Ray, which has no GPUs left for it
            args["distributed_executor_backend"] = "mp"
    else:
        args |= {"enforce_eager": True, "kv_cache_memory_bytes": CPU_CACHE_BYTES}
    return args | judge.engine
