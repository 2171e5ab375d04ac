"""Launchers start workers of a study: on this machine, on a Slurm cluster, on a Ray cluster."""
