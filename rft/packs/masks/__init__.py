"""Masks: which pixels of a frame a phrase means, answered as text; and the box of a phrase.

Papers: OV2VSS (arXiv:2412.09329), VISA with ReVOS (arXiv:2407.11325), MeViS (arXiv:2308.08544), VideoLISA with
ReasonVOS (arXiv:2409.19603), Seg-Zero (arXiv:2503.06520), TPO (arXiv:2412.19326), InternVideo2.5 (arXiv:2501.12386).
"""
