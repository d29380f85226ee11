"""`rft view`: the page of one or more runs, live, on this machine alone."""
