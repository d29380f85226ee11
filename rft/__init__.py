"""GRPO reinforcement fine-tuning of video language models."""
