"""Events in time: E.T. Bench (arXiv:2409.18111), TimeSuite (2410.19702), QVHighlights, dense captions and chapters.

All spans of an event, one moment of it, another event like the shown one, events with captions, their order,
highlights.
"""
