"""The training loop, checkpoints and the recorder."""
