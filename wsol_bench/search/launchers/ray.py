"""Workers as tasks of a Ray cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from wsol_bench.errors import UsageError
from wsol_bench.search.launchers.base import (
    STUDY_VARIABLE,
    Launcher,
    WorkerCommand,
    number,
    run_to_its_end,
    worker_name_of,
)


class RayLauncher(Launcher):
    """Tasks of a Ray cluster that is running already; Ray places them, and places them again when a node dies."""

    OPTIONS: ClassVar[Mapping[str, str]] = {
        "address": "of the cluster; auto",
        "gpus": "GPUs per worker, a fraction to share one; 1 where the cluster has any",
        "cpus": "cores per worker; 1",
    }

    def __init__(self, command: WorkerCommand, options: Mapping[str, str]) -> None:
        super().__init__(command, options)
        import ray

        self._ray: Any = ray
        if not self._ray.is_initialized():
            try:
                self._ray.init(address=options.get("address", "auto"), log_to_driver=False, logging_level="error")
            except ConnectionError as error:
                raise UsageError(
                    f"Expected a Ray cluster but: {error}; fix: 'ray start --head' on one machine and 'ray start "
                    "--address=HOST:6379' on the others, or --launcher local."
                ) from error
        gpus = (
            number("gpus", options["gpus"])
            if "gpus" in options
            else min(1, self._ray.cluster_resources().get("GPU", 0))
        )
        self._task = self._ray.remote(run_to_its_end).options(
            num_gpus=gpus,
            num_cpus=number("cpus", options.get("cpus", "1")),
            max_retries=-1,
            runtime_env={"env_vars": {"OMP_NUM_THREADS": str(max(1, int(float(options.get("cpus", "1")))))}},
        )
        self._tasks: dict[str, Any] = {}

    def start(self, count: int) -> None:
        """Submits tasks; a task that Ray starts again elsewhere keeps its name."""
        for _ in range(count):
            name = worker_name_of(len(self._tasks))
            self._tasks[name] = self._task.remote(
                self.command.line(name), str(self.command.log(name)), {STUDY_VARIABLE: self.command.study.secret}
            )

    def dead(self) -> dict[str, bool]:
        """Asks Ray which tasks have ended with an error."""
        bad = {}
        for name, task in list(self._tasks.items()):
            if not self._ray.wait([task], timeout=0)[0]:
                continue
            del self._tasks[name]
            try:
                self._ray.get(task)
            except self._ray.exceptions.RayTaskError:
                bad[name] = True
            except self._ray.exceptions.RayError:
                bad[name] = False
        return bad

    def alive(self) -> int:
        """Counts tasks, waiting ones included."""
        return sum(not self._ray.wait([task], timeout=0)[0] for task in self._tasks.values())

    def stop(self) -> None:
        """Cancels the tasks."""
        for task in self._tasks.values():
            self._ray.cancel(task)
