"""The policy in training: packing, forward, update, save and load."""
