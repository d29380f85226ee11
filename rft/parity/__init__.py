"""The comparison of engine and learner on real prompts."""
