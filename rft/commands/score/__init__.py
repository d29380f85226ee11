"""`rft score`: rewards of stored completions."""
