"""`rft eval`: metrics of a model, of stored completions or of baselines."""
