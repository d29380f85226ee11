"""The recipe's section of a Ray cluster that is there already."""

import os
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from rft.recipe.section import Section

LOCAL = "local"
"""The address that stands for a Ray of the run's own."""


class ClusterRecipe(Section):
    address: str | None = None
    """A Ray cluster that is there, as HOST:PORT, or `auto` for that of this machine; null: that of RAY_ADDRESS, else
    (or with `local`) Ray starts on this machine alone, for this run."""
    runtime_env: dict[str, Any] = Field({})
    """Ray's runtime environment for the run's processes on such a cluster: `{env_vars: {HF_HOME: /data/hf}}`,
    `{py_modules: [src/mine]}`."""

    def joined_address(self, environment: Mapping[str, str] = os.environ) -> str | None:
        """The cluster that a run joins; None: it starts Ray itself."""
        address = self.address or environment.get("RAY_ADDRESS") or LOCAL
        return None if address == LOCAL else address
