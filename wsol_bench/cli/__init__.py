"""The command line: parse, call, render. Results go to standard output, progress and errors to standard error."""

from wsol_bench.cli.app import main

__all__ = ["main"]
