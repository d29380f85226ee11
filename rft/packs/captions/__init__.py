"""Captions: which events and objects they state, which questions they answer, and the thought before them.

AutoDQ of Tarsier (arXiv:2407.00634) is the task `caption` of rft/tasks/caption.py. This pack adds CapST of CaReBench
(arXiv:2501.00513), VDCscore of AuroraCap (arXiv:2410.03051), the words of Vript-HAL (arXiv:2406.06040) and the
structured thought of VideoCap-R1 (arXiv:2506.01725).
"""
