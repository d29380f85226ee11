"""Clip features that are kept outside of vLLM: known ones go in instead of a pass of the tower, new ones come out."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from vllm.config import ECTransferConfig, VllmConfig
from vllm.distributed import get_tensor_model_parallel_rank
from vllm.distributed.ec_transfer.ec_connector.base import ECConnectorBase, ECConnectorMetadata, ECConnectorRole
from vllm.platforms import current_platform
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.engine.llm_engine import LLMEngine
from vllm.v1.request import Request

from rft.data.feature_store import FeatureFolder


def clip_identifier(tower: str | None, key: str) -> str:
    """How vLLM's caches name a clip. With the tower's fingerprint where that is frozen: its features are kept."""
    return key if tower is None else f"{tower}/{key}"


def tower_and_key(identifier: str) -> tuple[str, str]:
    """What `clip_identifier` made it of; "" where there was no tower."""
    tower, _, key = identifier.rpartition("/")
    return tower, key


def connector_config(directory: Path, max_gib: float) -> ECTransferConfig:
    """Has an engine keep features in `directory`, a FeatureFolder."""
    return ECTransferConfig(
        ec_connector=FeatureConnector.__name__,
        ec_connector_module_path=__name__,
        ec_role="ec_both",
        ec_connector_extra_config={"directory": str(directory), "max_gib": max_gib},
    )


@dataclass(frozen=True, slots=True)
class Found(ECConnectorMetadata):  # type: ignore[misc]
    """What the scheduler hands the workers with a step."""

    features: dict[str, Tensor]
    """Identifier -> [visual tokens, width]. Read before the step, so that a file that goes meanwhile is not missed."""


class FeatureConnector(ECConnectorBase):  # type: ignore[misc]
    """vLLM makes one for its scheduler and one for each worker."""

    def __init__(self, vllm_config: VllmConfig, role: ECConnectorRole) -> None:
        super().__init__(vllm_config, role)
        assert vllm_config.ec_transfer_config is not None
        given = vllm_config.ec_transfer_config.ec_connector_extra_config
        self._folder = FeatureFolder(Path(given["directory"]), given["max_gib"])
        self._dtype = vllm_config.model_config.dtype
        self._looked_up: dict[str, Tensor] = {}
        """In this step."""
        self._wanted: dict[str, Tensor] = {}
        """Of these, what takes part in the step."""
        self._waiting: dict[str, Tensor] = {}
        """Looked up in the step before, by a prompt that did not fit in."""
        self.num_encoded = 0
        """Clips that the tower was given. This and the next by the scheduler's connector."""
        self.num_found = 0
        """Clips whose features were in the folder."""

    def has_cache_item(self, identifier: str) -> bool:
        """In the scheduler: whether the clip's features are kept. It reads them at once."""
        tower, key = tower_and_key(identifier)
        features = self._waiting.get(identifier)
        if features is None and tower:
            features = self._folder.load(tower, key)
        if features is None:
            return False
        self._looked_up[identifier] = features
        return True

    def update_state_after_alloc(self, request: Request, index: int) -> None:
        """In the scheduler: the clip is part of the step, and will be encoded unless its features were found."""
        identifier = request.mm_features[index].identifier
        if identifier in self._looked_up:
            self._wanted[identifier] = self._looked_up[identifier]
            self.num_found += 1
        else:
            self.num_encoded += 1

    def build_connector_meta(self, scheduler_output: SchedulerOutput) -> Found:
        """In the scheduler, at the end of its part of a step: what the workers need."""
        found = Found(self._wanted)
        self._waiting = {name: one for name, one in self._looked_up.items() if name not in self._wanted}
        self._looked_up, self._wanted = {}, {}
        return found

    def start_load_caches(self, encoder_cache: dict[str, Tensor], **_: object) -> None:
        """In a worker, before a step."""
        found = self._get_connector_metadata()
        assert isinstance(found, Found)
        for identifier, features in found.features.items():
            encoder_cache[identifier] = features.to(current_platform.device_type, self._dtype)

    def save_caches(self, encoder_cache: dict[str, Tensor], mm_hash: str, **_: object) -> None:
        """In a worker, when a clip has been encoded."""
        tower, key = tower_and_key(mm_hash)
        if tower and get_tensor_model_parallel_rank() == 0:
            self._folder.store(tower, key, encoder_cache[mm_hash])


def feature_counts(engine: LLMEngine) -> dict[str, float]:
    """Clips that the engine encoded, and that it found encoded, since it began; nothing without a FeatureConnector."""
    connector = engine.engine_core.engine_core.scheduler.get_ec_connector()
    if not isinstance(connector, FeatureConnector):
        return {}
    return {"clips/encodes": float(connector.num_encoded), "clips/feature_hits": float(connector.num_found)}
