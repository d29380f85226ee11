"""The commands of `rft` other than `train`; one folder per command."""
