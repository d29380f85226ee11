"""`rft push`: the policy of a run as a model folder with a card, on a hub or in a folder."""
