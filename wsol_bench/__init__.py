"""wsol-bench: the realistic evaluation protocol for weakly supervised object localization."""

__version__ = "0.1.0"
