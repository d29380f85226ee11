"""Errors a user can act on: each message says where, what, and what to do."""


class RftError(Exception):
    """A user's mistake or a failed resource. The CLI prints the message alone and exits with 2."""


class RecipeError(RftError):
    """A recipe that cannot run as written."""


class DataError(RftError):
    """Rows, videos or models that cannot be used."""


class RolloutError(RftError):
    """Sampling failed beyond what a restart repairs."""


class ParityError(RftError):
    """Sampler and learner see or compute different things."""


class RewardError(RftError):
    """A reward function raised, hung, or returned no number in [0, 1]."""


class CheckpointError(RftError):
    """A checkpoint or run folder that cannot be written or read."""


class Interrupted(Exception):
    """The user asked the run to stop while it was sampling."""
