"""The drawn clips and the tiny policy of the quickstart."""
