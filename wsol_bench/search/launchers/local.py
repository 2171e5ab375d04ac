"""Workers as processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from wsol_bench.search.launchers.base import (
    PARENT_VARIABLE,
    STUDY_VARIABLE,
    Launcher,
    WorkerCommand,
    whole,
    worker_name_of,
)

STOP_SECONDS = 30.0
"""For giving back a trial, before a process is killed."""


@dataclass
class _Process:
    name: str
    popen: subprocess.Popen[bytes]
    slot: int


class LocalLauncher(Launcher):
    """Processes of this machine: the GPUs are shared out in turn, the cores evenly."""

    OPTIONS: ClassVar[Mapping[str, str]] = {
        "gpus": "how many GPUs to share out; all that there are",
        "threads": "threads per worker",
    }

    def __init__(self, command: WorkerCommand, options: Mapping[str, str]) -> None:
        super().__init__(command, options)
        self._gpus = whole("gpus", options["gpus"]) if "gpus" in options else None
        self._threads = whole("threads", options["threads"]) if "threads" in options else None
        self._running: list[_Process] = []
        self._wanted = 0

    def start(self, count: int) -> None:
        """Starts processes with what is least in use."""
        self._wanted = max(self._wanted, len(self._running) + count)
        for _ in range(count):
            used = {one.slot for one in self._running}
            slot = next(slot for slot in range(self._wanted + count) if slot not in used)
            name = worker_name_of(slot)
            self.command.logs.mkdir(parents=True, exist_ok=True)
            with self.command.log(name).open("wb") as log:
                popen = subprocess.Popen(
                    self.command.line(name),
                    env=self._environment(slot),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # Ctrl-C reaches the launcher only, which then asks them one by one.
                    start_new_session=True,
                )
            self._running.append(_Process(name, popen, slot))

    def dead(self) -> dict[str, bool]:
        """Looks at the exit statuses."""
        statuses = [(one, one.popen.poll()) for one in self._running]
        self._running = [one for one, status in statuses if status is None]
        return {one.name: status > 0 for one, status in statuses if status}

    def alive(self) -> int:
        """Counts processes."""
        return sum(one.popen.poll() is None for one in self._running)

    def stop(self) -> None:
        """Sends SIGTERM, and SIGKILL to those that take too long."""
        for one in self._running:
            one.popen.send_signal(signal.SIGTERM)
        until = time.monotonic() + STOP_SECONDS
        for one in self._running:
            try:
                one.popen.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                one.popen.kill()
                one.popen.wait()

    def pids(self) -> list[int]:
        """Returns the ids of the processes that are running."""
        return [one.popen.pid for one in self._running if one.popen.poll() is None]

    def _environment(self, slot: int) -> dict[str, str]:
        environment = dict(os.environ)
        environment[STUDY_VARIABLE] = self.command.study.secret
        environment[PARENT_VARIABLE] = str(os.getpid())
        gpus = _visible_gpus() if self._gpus is None else list(map(str, range(self._gpus)))
        if len(gpus) > 1:
            environment["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
        threads = self._threads or max(1, _cores() // max(1, self._wanted))
        if self._threads is not None or "OMP_NUM_THREADS" not in environment:
            environment["OMP_NUM_THREADS"] = str(threads)
        return environment


def _visible_gpus() -> list[str]:
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [one for one in named.split(",") if one.strip()]
    return [str(number) for number in range(torch.cuda.device_count())]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
