"""The processes of a run, as Ray actors: rollout workers, learner ranks, the supervised stage."""
