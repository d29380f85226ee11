"""Sizes of the parts in which large things are computed; without torch, so that `rft check` reads them too."""

CHUNK = 2**26
"""Numbers of a parameter that `LeanAdamW` updates at one time: 0.25 GiB for each float32 copy that this takes."""

CHUNK_BYTES = 22
"""Bytes per number in the chunk, measured: weight, gradient and moments in float32, rounding noise, rounded value."""

SLICE_PATCHES = 8192
"""Patches, 2,048 visual tokens, that a vision tower sees at a time with gradient checkpointing, on one rank."""
