"""GPUs by name, and what is assumed of any."""

from dataclasses import dataclass

from rft.errors import RecipeError

SHARE_OF_PEAK = 0.4
"""Share of peak FLOP/s that is assumed in a learner, and in an engine during prefill."""

SHARE_OF_BANDWIDTH = 0.6
"""Share of peak memory bandwidth that is assumed in an engine during decoding."""

HOST_BYTES_PER_S = 25e9
"""Bytes per second between CPU and GPU, each way, as assumed: PCIe 4.0 x16 has 32e9."""

USABLE = 0.92
"""Usable share of a GPU's memory; the rest is for CUDA, libraries and fragmentation."""


@dataclass(frozen=True, slots=True)
class Gpu:
    gib: float
    """Memory, as the name says it."""
    tflops: float
    """Peak of dense bfloat16 matrix products."""
    gb_per_s: float
    """Peak of memory bandwidth."""


GPUS = {
    "A100-40GB": Gpu(40, 312, 1555),
    "A100-80GB": Gpu(80, 312, 2039),
    "H100-PCIe": Gpu(80, 756, 2000),
    "H100-SXM": Gpu(80, 989, 3350),
    "H200": Gpu(141, 989, 4800),
    "B200": Gpu(180, 2250, 7700),
    "L40S": Gpu(48, 362, 864),
    "RTX-4090": Gpu(24, 165, 1008),
}
"""From NVIDIA's public data sheets (A100 SXM, H100, H200 SXM, HGX B200, L40S, the Ada architecture's paper). Dense, not
sparse: half of what is printed where the sheet counts with sparsity; on the RTX-4090 with float32 accumulation."""


def find_gpu(name: str) -> str:
    """The name in GPUS that `name` is a part of, whatever its case, spaces and dashes. RecipeError: none or several."""
    matches = [known for known in GPUS if _plain(name) in _plain(known)]
    if len(matches) != 1:
        what = f"is there more than once ({', '.join(matches)})" if matches else "is not in the table"
        raise RecipeError(f"--gpu {name}: {what}. Known: {', '.join(GPUS)}.")
    return matches[0]


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
