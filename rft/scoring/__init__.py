"""From the completions of a step to rewards and training samples."""
