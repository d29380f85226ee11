"""VideoReasonBench (arXiv:2505.23359): operations on a state that is visible at one end of the video only.

Six demonstrations (number, circle, cup, file, card, chip), each an exact simulator; six questions about a video, on
three levels: recall its operations, infer the hidden state, predict what follows from it. Answers are judged by
simulation, never by comparing texts.
"""
