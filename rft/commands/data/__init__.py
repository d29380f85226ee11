"""`rft data`: write, convert, select and inspect rows."""
