"""The run folder: what a run writes, shows and continues from."""
