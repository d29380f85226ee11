"""Needles in long videos: VideoChat-Flash's single and multi-hop needles (arXiv:2501.00574), by depth and length.

`rft data needle` puts images into long videos; the target says where.
"""
