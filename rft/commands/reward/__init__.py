"""`rft reward`: rewards of one's own: tried on stored completions, begun from a sketch, compared with labels."""
