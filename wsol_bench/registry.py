"""One generic registry for everything that can be plugged in: methods, datasets, annotators, launchers, metrics.

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
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from wsol_bench.errors import PluginError, missing_package, unknown_choice

if TYPE_CHECKING:
    from wsol_bench.annotators.base import Annotator
    from wsol_bench.datasets.base import Dataset
    from wsol_bench.methods.base import Method
    from wsol_bench.search.launchers.base import Launcher

_PLUGIN = "wsol_bench_plugin_"

T = TypeVar("T")
Registered = TypeVar("Registered")


@dataclass(frozen=True)
class _Entry:
    """One name of a registry: what it is (``module:Class``), where a person finds it, and how to get it."""

    target: str
    origin: str
    load: Callable[[], Any]
    installed: bool = False


class Registry(Generic[T]):
    """Names to plug-ins; nothing is imported before it is asked for.

    Args:
        kind: what the entries are, in the singular, for messages (``method``).
        group: entry-point group searched for third-party entries, or None.
        base: ``"module:Class"`` that every entry must be a subclass of, or None.
        hint: closing sentence of the error for unknown names: how to list the known ones.
    """

    def __init__(self, kind: str, group: str | None = None, *, base: str | None = None, hint: str = "") -> None:
        self.kind = kind
        self.group = group
        self._base = base
        self._hint = hint
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
            self._scan_entry_points()
            self._add(name, _Entry(_target_of(item), _place_of(item), lambda: item))
            return item

        return decorate

    def register_lazy(self, name: str, target: str) -> None:
        """Registers ``"module:Class"`` under ``name``; the module is imported at the first :meth:`get`.

        Raises:
            PluginError: another object already has that name; both places are named.
        """
        self._add(name, _Entry(target, target, lambda: _import_target(target)))

    def get(self, name: str) -> T:
        """Returns the plug-in registered under ``name``.

        Raises:
            UsageError: the name is unknown; the closest one is suggested.
            PluginError: the plug-in is known but cannot be loaded, or is not what this registry holds.
        """
        entry = self._entry(name)
        try:
            loaded = entry.load()
            problem = self._contract_problem(loaded)
        # A plug-in is foreign code: whatever it raises while loading is its own fault and is reported by its name.
        except (Exception, SystemExit) as error:
            raise self._failure(name, entry, _reason(error)) from error
        if problem is not None:
            raise self._failure(name, entry, problem)
        found: T = loaded
        return found

    def names(self) -> list[str]:
        """Returns all known names, sorted."""
        self._scan_entry_points()
        return sorted(self._entries)

    def names_of(self, module: str) -> list[str]:
        """Returns the names that a module registered, sorted; nothing is loaded."""
        return [name for name in self.names() if self._entries[name].target.partition(":")[0] == module]

    def loadable(self) -> dict[str, T]:
        """Loads everything and returns what could be loaded, by name, sorted; :meth:`broken` then tells the rest."""
        found = {}
        for name in self.names():
            try:
                found[name] = self.get(name)
            except PluginError:
                continue
        return found

    def broken(self) -> dict[str, str]:
        """Returns ``{name: reason}`` of plug-ins that clash, or failed to load so far."""
        self._scan_entry_points()
        return dict(sorted(self._broken.items()))

    def origin(self, name: str) -> str:
        """Returns where an entry comes from: ``module:Class``, with its distribution, or a file and line.

        Raises:
            UsageError: the name is unknown; the closest one is suggested.
        """
        return self._entry(name).origin

    def __contains__(self, name: str) -> bool:
        self._scan_entry_points()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def _entry(self, name: str) -> _Entry:
        self._scan_entry_points()
        entry = self._entries.get(name)
        if entry is not None:
            return entry
        if name in self._broken:
            raise PluginError(self._broken[name])
        raise unknown_choice(self.kind, name, self._entries, hint=self._hint)

    def _add(self, name: str, entry: _Entry) -> None:
        with self._lock:
            known = self._entries.get(name)
            # One class may announce itself twice, by its decorator and by an entry point; and a notebook's cell that
            # is run again replaces its class.
            if known is not None and known.target != entry.target:
                raise PluginError(
                    f"Two {self.kind}s are called '{name}': {known.origin} and {entry.origin}. Fix: rename or "
                    "uninstall one of them."
                )
            self._entries[name] = entry

    def _scan_entry_points(self) -> None:
        with self._lock:
            if self._scanned:
                return
            self._scanned = True
            for point in entry_points(group=self.group or ""):
                self._add_installed(point)

    def _add_installed(self, point: EntryPoint) -> None:
        """Adds an entry point; a clash is noted, not raised, so that the other plug-ins stay usable.

        Of two installed plug-ins neither keeps the name, or the order of installation would decide what a name means;
        what is built in or was registered on purpose does keep it.
        """
        owner = "an unknown distribution" if point.dist is None else f"{point.dist.name} {point.dist.version}"
        entry = _Entry(point.value.replace(" ", ""), f"{point.value} of {owner}", point.load, installed=True)
        if point.name in self._broken:
            return
        try:
            self._add(point.name, entry)
        except PluginError as error:
            self._broken[point.name] = str(error)
            if self._entries[point.name].installed:
                del self._entries[point.name]

    def _contract_problem(self, loaded: object) -> str | None:
        if self._base is None:
            return None
        base = _import_target(self._base)
        if isinstance(loaded, type) and issubclass(loaded, base):
            return None
        return f"expected a subclass of {self._base.replace(':', '.')} but got {loaded!r}"

    def _failure(self, name: str, entry: _Entry, reason: str) -> PluginError:
        self._broken[name] = f"The {self.kind} '{name}' ({entry.origin}) cannot be loaded: {reason}"
        return PluginError(self._broken[name])


def load_plugin_file(path: Path) -> str:
    """Imports a Python file whose registration lines add plug-ins (the ``--plugin`` option).

    Loading the same file twice is one import.

    Returns:
        The name of its module.

    Raises:
        PluginError: the file does not exist, is not Python, or fails while it is imported.
    """
    if not path.is_file():
        raise PluginError(
            f"Expected --plugin to name a Python file but there is no file '{path}'; fix: check the path."
        )
    resolved = path.resolve()
    name = f"{_PLUGIN}{path.stem}_{hashlib.sha256(str(resolved).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return name
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
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise PluginError(f"The plug-in file '{path}' failed: {_reason(error)}") from error
    return name


def plugin_files() -> tuple[Path, ...]:
    """Returns the files imported so far by :func:`load_plugin_file`: what another process must load too."""
    modules = [module for name, module in sys.modules.items() if name.startswith(_PLUGIN)]
    return tuple(Path(str(module.__file__)) for module in modules)


def _import_target(target: str) -> Any:
    module_name, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module_name), attribute)


def _reason(error: BaseException) -> str:
    missing = missing_package(error) if isinstance(error, ImportError) else None
    return f"{type(error).__name__}: {error}" if missing is None else str(missing)


def _target_of(item: object) -> str:
    module, name = getattr(item, "__module__", None), getattr(item, "__qualname__", None)
    return f"{module}:{name}" if module and name else repr(item)


def _place_of(item: object) -> str:
    try:
        file = inspect.getsourcefile(item)  # type: ignore[arg-type]
        _, line = inspect.getsourcelines(item)  # type: ignore[arg-type]
    except (TypeError, OSError):
        return _target_of(item)
    return f"{file}:{line}"


METHODS: Registry[type[Method]] = Registry(
    "method",
    "wsol_bench.methods",
    base="wsol_bench.methods.base:Method",
    hint="'wsol-bench methods list' shows all.",
)
DATASETS: Registry[type[Dataset]] = Registry(
    "dataset",
    "wsol_bench.datasets",
    base="wsol_bench.datasets.base:Dataset",
    hint="'wsol-bench datasets list' shows all.",
)
ANNOTATORS: Registry[type[Annotator]] = Registry(
    "annotator",
    "wsol_bench.annotators",
    base="wsol_bench.annotators.base:Annotator",
    hint="'wsol-bench annotate list' shows all.",
)
LAUNCHERS: Registry[type[Launcher]] = Registry(
    "launcher", "wsol_bench.launchers", base="wsol_bench.search.launchers.base:Launcher"
)
METRICS: Registry[type[Any]] = Registry("metric", "wsol_bench.metrics")
"""Accumulators with ``compute`` and ``merge``, for scoring code of one's own; what the judge reports is named by the
protocol."""

for _name, _class in {
    "acol": "ACoL",
    "adl": "ADL",
    "cam": "CAM",
    "clip_es": "ClipES",
    "cutmix": "CutMix",
    "dino_attention": "DinoAttention",
    "dips": "DiPS",
    "fcam": "FCAM",
    "grad_cam": "GradCAM",
    "grad_cam_pp": "GradCAMpp",
    "has": "HaS",
    "is_cam": "ISCAM",
    "layer_cam": "LayerCAM",
    "nl_ccam": "NLCCAM",
    "sat": "SAT",
    "scm": "SCM",
    "score_cam": "ScoreCAM",
    "spg": "SPG",
    "ss_cam": "SSCAM",
    "ted_loc": "TedLoc",
    "ts_cam": "TSCAM",
    "wwbl": "WWbL",
    "xgrad_cam": "XGradCAM",
}.items():
    METHODS.register_lazy(_name, f"wsol_bench.methods.{_name}:{_class}")
for _name, _class in {"clip": "ClipSimilarity", "naclip": "NACLIP", "sclip": "SCLIP"}.items():
    METHODS.register_lazy(_name, f"wsol_bench.methods.clip_patch_text:{_class}")
DATASETS.register_lazy("critters", "wsol_bench.datasets.critters.dataset:Critters")
DATASETS.register_lazy("tiny-imagenet", "wsol_bench.datasets.tiny_imagenet:TinyImageNet")
for _name, _class in {
    "aircraft": "Aircraft",
    "camelyon16": "Camelyon16",
    "cars": "Cars",
    "cub": "Cub",
    "dogs": "Dogs",
    "glas": "Glas",
    "ilsvrc": "Ilsvrc",
}.items():
    DATASETS.register_lazy(_name, f"wsol_bench.datasets.{_name}:{_class}")
DATASETS.register_lazy("coco", "wsol_bench.datasets.coco:Coco")
DATASETS.register_lazy("csv", "wsol_bench.datasets.csv_labels:CsvLabels")
DATASETS.register_lazy("folder-of-classes", "wsol_bench.datasets.folder_of_classes:FolderOfClasses")
DATASETS.register_lazy("openimages", "wsol_bench.datasets.open_images:OpenImages")
DATASETS.register_lazy("folder", "wsol_bench.datasets.four_file_dataset:FourFileDataset")
LAUNCHERS.register_lazy("local", "wsol_bench.search.launchers.local:LocalLauncher")
LAUNCHERS.register_lazy("ray", "wsol_bench.search.launchers.ray:RayLauncher")
LAUNCHERS.register_lazy("slurm", "wsol_bench.search.launchers.slurm:SlurmLauncher")
ANNOTATORS.register_lazy("ss", "wsol_bench.annotators.selective_search:SelectiveSearch")
ANNOTATORS.register_lazy("rpn", "wsol_bench.annotators.region_proposals:RegionProposals")
ANNOTATORS.register_lazy("clip", "wsol_bench.annotators.clip:ClipBoxes")
METRICS.register_lazy("box_acc", "wsol_bench.metrics.box_acc:BoxAccuracy")
METRICS.register_lazy("corloc", "wsol_bench.metrics.corloc:CorLoc")
METRICS.register_lazy("error_types", "wsol_bench.metrics.error_types:ErrorTypes")
METRICS.register_lazy("pointing", "wsol_bench.metrics.pointing:PointingGame")
METRICS.register_lazy("px_ap", "wsol_bench.metrics.px_ap:PixelAveragePrecision")
