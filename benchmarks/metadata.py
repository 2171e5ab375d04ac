"""Seconds and memory of reading the field's metadata folders: ``python benchmarks/metadata.py DIR [--write]``.

DIR holds folders such as ``ILSVRC/test`` with ``image_ids.txt``, ``class_labels.txt``, ``image_sizes.txt`` and
``localization.txt``. Each folder is read in a process of its own, so that peaks of memory do not add up.
"""

from __future__ import annotations

import argparse
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

from wsol_bench.annotations.four_file import LOCALIZATION, read_four_file

RESULTS = Path(__file__).parent / "results" / "metadata.md"
REPETITIONS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name} beside printing it")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(measured(options.folder))
        return
    lines = [
        "# Reading metadata",
        "",
        f"{platform.machine()}, Python {platform.python_version()}; processor seconds, the least of {REPETITIONS}; "
        "memory: growth of the process's peak.",
        "",
        "| folder | images | boxes or masks | seconds | MiB |",
        "|---|---|---|---|---|",
    ]
    for place in sorted(path.parent for path in options.folder.glob(f"*/*/{LOCALIZATION}")):
        call = [sys.executable, __file__, str(place), "--one"]
        lines.append(subprocess.run(call, check=True, capture_output=True, text=True).stdout.strip())
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if options.write:
        RESULTS.write_text(text, encoding="utf-8")


def measured(folder: Path) -> str:
    """Returns one line of the table."""
    first = (folder / LOCALIZATION).read_text(encoding="utf-8").partition("\n")[0]
    kind: Literal["boxes", "masks"] = "masks" if first.count(",") == 2 else "boxes"
    before = _peak_mib()
    seconds = []
    for _ in range(REPETITIONS):
        started = time.process_time()
        file = read_four_file(folder, kind=kind)
        seconds.append(time.process_time() - started)
    count = len(file.boxes.boxes) if file.boxes is not None else len(file.masks.masks) if file.masks is not None else 0
    name = "/".join(folder.parts[-2:])
    return f"| {name} | {len(file.ids):,} | {count:,} | {min(seconds):.2f} | {_peak_mib() - before:.0f} |"


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
