"""One generic registry for everything that can be plugged in: methods, datasets, annotators, metrics, launchers.

A plug-in is one Python file with a registration line::

    from wsol_bench.registry import METHODS

    @METHODS.register("my_method")
    class MyMethod(Method): ...

It is found when it is part of this package (lazy entries below), when an installed distribution declares it under an
entry-point group such as ``wsol_bench.methods``, or when its file is named with ``--plugin path.py``.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from wsol_bench.errors import PluginError, unknown_choice

T = TypeVar("T")
Registered = TypeVar("Registered")


@dataclass(frozen=True)
class _Entry:
    origin: str
    load: Callable[[], Any]


class Registry(Generic[T]):
    """Names to plug-ins; nothing is imported before it is asked for.

    Args:
        kind: what the entries are, in the singular, for messages (``method``).
        group: entry-point group searched for third-party entries, or None.
    """

    def __init__(self, kind: str, group: str | None = None) -> None:
        self.kind = kind
        self.group = group
        self._entries: dict[str, _Entry] = {}
        self._broken: dict[str, str] = {}
        self._scanned = group is None
        self._lock = threading.RLock()

    def register(self, name: str) -> Callable[[Registered], Registered]:
        """Registers the decorated class or function under ``name``.

        Raises:
            PluginError: another object already has that name; both places are named.
        """

        def decorate(item: Registered) -> Registered:
            self._add(name, _Entry(_place_of(item), lambda: item))
            return item

        return decorate

    def register_lazy(self, name: str, target: str) -> None:
        """Registers ``"module:Class"`` under ``name``; the module is imported at the first :meth:`get`."""
        self._add(name, _Entry(target, lambda: _import_target(target)))

    def get(self, name: str) -> T:
        """Returns the plug-in registered under ``name``.

        Raises:
            UsageError: the name is unknown; the closest one is suggested.
            PluginError: the plug-in is known but cannot be loaded.
        """
        self._scan_entry_points()
        entry = self._entries.get(name)
        if entry is None:
            if name in self._broken:
                raise PluginError(self._broken[name])
            raise unknown_choice(self.kind, name, self._entries, hint=f"'wsol-bench {self.kind}s list' shows all.")
        try:
            loaded: T = entry.load()
        # A plug-in is foreign code: whatever it raises while loading is its own fault and is reported by its name.
        except Exception as error:
            message = f"The {self.kind} '{name}' ({entry.origin}) cannot be loaded: {type(error).__name__}: {error}"
            self._broken[name] = message
            raise PluginError(message) from error
        return loaded

    def names(self) -> list[str]:
        """Returns all known names, sorted."""
        self._scan_entry_points()
        return sorted(self._entries)

    def broken(self) -> dict[str, str]:
        """Returns ``{name: reason}`` of plug-ins that could not be registered or loaded so far."""
        self._scan_entry_points()
        return dict(self._broken)

    def origin(self, name: str) -> str:
        """Returns where an entry comes from (``module:Class`` or a file and line)."""
        self._scan_entry_points()
        return self._entries[name].origin

    def __contains__(self, name: str) -> bool:
        self._scan_entry_points()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def _add(self, name: str, entry: _Entry) -> None:
        with self._lock:
            known = self._entries.get(name)
            if known is not None and known.origin != entry.origin:
                raise PluginError(
                    f"Two {self.kind}s are called '{name}': {known.origin} and {entry.origin}. Fix: rename one of them."
                )
            self._entries[name] = entry

    def _scan_entry_points(self) -> None:
        if self._scanned:
            return
        with self._lock:
            if self._scanned:
                return
            self._scanned = True
            for point in entry_points(group=self.group or ""):
                owner = point.dist.name if point.dist is not None else "an unknown distribution"
                try:
                    self._add(point.name, _Entry(f"{point.value} of {owner}", point.load))
                except PluginError as error:
                    self._broken[point.name] = str(error)


def load_plugin_file(path: Path) -> None:
    """Imports a Python file whose registration lines add plug-ins (the ``--plugin`` option).

    Raises:
        PluginError: the file does not exist or fails while it is imported.
    """
    if not path.is_file():
        raise PluginError(f"Expected --plugin to name a Python file but '{path}' does not exist.")
    # The name depends on the resolved path, so that loading one file twice is one import.
    resolved = path.resolve()
    name = f"wsol_bench_plugin_{path.stem}_{hashlib.sha256(str(resolved).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, resolved)
    if spec is None or spec.loader is None:
        raise PluginError(f"Expected --plugin to name a Python file (*.py) but got '{path}'.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except PluginError:
        del sys.modules[name]
        raise
    # Foreign code: any failure is reported with the file that caused it.
    except Exception as error:
        del sys.modules[name]
        raise PluginError(f"The plug-in file '{path}' failed: {type(error).__name__}: {error}") from error


def _import_target(target: str) -> Any:
    module_name, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module_name), attribute)


def _place_of(item: object) -> str:
    try:
        file = inspect.getsourcefile(item)  # type: ignore[arg-type]
        _, line = inspect.getsourcelines(item)  # type: ignore[arg-type]
    except (TypeError, OSError):
        return repr(item)
    return f"{file}:{line}"


METHODS: Registry[Any] = Registry("method", "wsol_bench.methods")
DATASETS: Registry[Any] = Registry("dataset", "wsol_bench.datasets")
ANNOTATORS: Registry[Any] = Registry("annotator", "wsol_bench.annotators")
METRICS: Registry[Any] = Registry("metric", "wsol_bench.metrics")

METHODS.register_lazy("cam", "wsol_bench.methods.cam:CAM")
DATASETS.register_lazy("critters", "wsol_bench.datasets.critters.dataset:Critters")
DATASETS.register_lazy("tiny-imagenet", "wsol_bench.datasets.tiny_imagenet:TinyImageNet")
DATASETS.register_lazy("folder", "wsol_bench.datasets.four_file_dataset:FourFileDataset")
ANNOTATORS.register_lazy("ss", "wsol_bench.annotators.selective_search:SelectiveSearch")
