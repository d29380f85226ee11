"""`rft report`: one page of a run folder."""
