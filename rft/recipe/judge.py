"""The recipe's section of a judge that the run starts itself."""

from pathlib import Path
from typing import Any

from pydantic import Field

from rft.recipe.section import Section


class JudgeRecipe(Section):
    model: str
    """Hugging Face model folder or hub name of the judge."""
    gpus: int = Field(1, ge=1)
    """GPUs of its server, which share the model, beside those of engines and learner; on a machine without GPUs it is
    on the CPU."""
    max_concurrent: int = Field(16, ge=1)
    """Requests that it works on at the same time; others wait."""
    max_tokens: int = Field(1024, ge=1)
    """Tokens at which a reply is cut, a thought before it included."""
    engine: dict[str, Any] = Field({})
    """Further arguments of vLLM's engine (EngineArgs), such as `{max_model_len: 8192}`."""
    cache: Path | None = None
    """File of its replies and their counts, which runs may share; default: judge.sqlite in the run folder."""
    start_timeout_s: float = Field(1800, gt=0)
    """Longest time from its start until it answers."""
    max_restarts: int = Field(2, ge=0)
    """Times that a server which ended is started again before the run stops."""
