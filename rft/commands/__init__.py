"""What the `rft` command does beside training; one folder per command."""
