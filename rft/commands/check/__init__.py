"""`rft check`: the problems and the plan of a recipe before it runs."""
