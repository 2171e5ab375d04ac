"""Lets ``python -m wsol_bench`` do what ``wsol-bench`` does."""

import sys

from wsol_bench.cli import main

if __name__ == "__main__":
    sys.exit(main())
