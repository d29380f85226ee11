"""Needles in long videos: VideoChat-Flash's single and multi-hop needles (arXiv:2501.00574), VNBench (2406.09367).

`rft data needle` puts images and clips into long videos; the target says where.
"""
