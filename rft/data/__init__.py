"""From rows to what the model reads: clips, frames, token ids. One decoder, one processor."""
