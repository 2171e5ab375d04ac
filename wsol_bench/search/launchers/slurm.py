"""Workers as jobs of a Slurm cluster."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from wsol_bench.errors import UsageError
from wsol_bench.search.launchers.base import (
    PARENT_VARIABLE,
    STUDY_VARIABLE,
    Launcher,
    WorkerCommand,
    run_to_its_end,
    whole,
    worker_name_of,
)


class SlurmLauncher(Launcher):
    """Jobs of a Slurm cluster, through submitit: one worker a job, resubmitted when it is preempted or times out."""

    OPTIONS: ClassVar[Mapping[str, str]] = {
        "partition": "partition",
        "account": "account",
        "time": "minutes that a job may run",
        "gpus": "GPUs per worker",
        "cpus": "cores per worker",
        "mem": "memory per worker in GB",
        "constraint": "features of the nodes",
        "qos": "quality of service",
        "cluster": "slurm, or 'local' to try it out without one",
    }
    _TEXTS: ClassVar[Mapping[str, str]] = {
        "partition": "slurm_partition",
        "account": "slurm_account",
        "constraint": "slurm_constraint",
        "qos": "slurm_qos",
    }
    _NUMBERS: ClassVar[Mapping[str, str]] = {
        "time": "timeout_min",
        "gpus": "gpus_per_node",
        "cpus": "cpus_per_task",
        "mem": "mem_gb",
    }

    def __init__(self, command: WorkerCommand, options: Mapping[str, str]) -> None:
        super().__init__(command, options)
        import submitit

        cluster = options.get("cluster", "slurm")
        try:
            self._executor: Any = submitit.AutoExecutor(folder=str(command.logs / "submitit"), cluster=cluster)
        except (RuntimeError, ValueError) as error:
            raise UsageError(
                f"Expected a Slurm cluster ('sbatch' on the path) but: {error}; fix: run this on a login node, or "
                "--launcher local."
            ) from error
        texts = {self._TEXTS[name]: options[name] for name in self._TEXTS if name in options}
        numbers = {self._NUMBERS[name]: whole(name, options[name]) for name in self._NUMBERS if name in options}
        self._executor.update_parameters(name="wsol-bench", **numbers, **(texts if cluster == "slurm" else {}))
        self._jobs: dict[str, Any] = {}

    def start(self, count: int) -> None:
        """Submits jobs; sbatch hands the environment on, and with it the address of the study."""
        os.environ[STUDY_VARIABLE] = self.command.study.secret
        os.environ.pop(PARENT_VARIABLE, None)
        self.command.logs.mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            name = worker_name_of(len(self._jobs))
            job = self._executor.submit(run_to_its_end, self.command.line(name), str(self.command.log(name)))
            self._jobs[name] = job

    def dead(self) -> dict[str, bool]:
        """Asks Slurm for the states of the jobs."""
        ended = [name for name, job in self._jobs.items() if job.done()]
        bad = {name: self._jobs[name].state == "FAILED" for name in ended if self._jobs[name].exception() is not None}
        for name in ended:
            del self._jobs[name]
        return bad

    def alive(self) -> int:
        """Counts jobs, queued ones included."""
        return sum(not job.done() for job in self._jobs.values())

    def stop(self) -> None:
        """Cancels the jobs."""
        for job in self._jobs.values():
            job.cancel()
