"""The trial plan and the workers that run it."""
