"""Size and memory of the parts in which `LeanAdamW` updates; without torch, so that `rft check` reads them too."""

CHUNK = 2**26
"""Numbers of a parameter that are updated at one time: 0.25 GiB for each float32 copy that this takes."""

CHUNK_BYTES = 22
"""Bytes per number in the chunk, measured: weight, gradient and moments in float32, rounding noise, rounded value."""
