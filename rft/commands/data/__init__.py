"""`rft data`: write, convert, select and look at rows."""
