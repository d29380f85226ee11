"""`rft check`: what can be told about a recipe before it runs."""
