"""Retrieval as an answer in words: the order of up to ten captions of a clip, or of up to ten clips for a text.

Sources: CaReBench, first named FIBER (arXiv:2501.00513), whose captions separate space from time, and VERIFIED
(arXiv:2410.08593), whose queries are coarse and fine. Both rank embeddings; the order as an answer follows Rearank
(arXiv:2505.20046).
"""
