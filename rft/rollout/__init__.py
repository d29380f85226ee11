"""The vLLM engine and the pool that spreads prompts over many."""
