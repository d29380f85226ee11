"""Questions along a stream, seen up to the moment of asking: OVBench (arXiv:2501.00584), OVO-Bench, StreamingBench.

A row's `end_s` is the time of the question: no frame after it is decoded.
"""
