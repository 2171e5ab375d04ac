from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wsol_bench.errors import PluginError, UsageError
from wsol_bench.registry import ANNOTATORS, DATASETS, METHODS, METRICS, Registry, load_plugin_file

GROUP = "wsol_bench.test_things"

Distribute = Callable[..., None]


@pytest.fixture
def distribute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Distribute:
    """Installs a fake distribution: modules by name, entry points by line."""

    def install(name: str, modules: dict[str, str], entry_points: str, group: str = GROUP) -> None:
        site = tmp_path / f"site-{name}"
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{entry_points}\n")
        for module, source in modules.items():
            (site / f"{module}.py").write_text(source)
            monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.syspath_prepend(str(site))

    return install


@pytest.fixture
def things() -> Registry[type]:
    return Registry("thing", GROUP, hint="'wsol-bench things list' shows all.")


@pytest.fixture
def plugin_file(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    before = set(sys.modules)

    def write(source: str) -> Path:
        path = tmp_path / "my_plugin.py"
        path.write_text(source)
        return path

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("wsol_bench_plugin_"):
            del sys.modules[name]


class Thing:
    pass


class Other:
    pass


def test_a_decorated_class_is_returned_and_found(things: Registry[type]) -> None:
    assert things.register("thing")(Thing) is Thing
    assert things.get("thing") is Thing
    assert things.names() == list(things) == ["thing"]
    assert "thing" in things and "other" not in things
    assert things.origin("thing").startswith(__file__)


def test_functions_can_be_registered_too(things: Registry[type]) -> None:
    @things.register("function")
    def function() -> None: ...

    assert things.get("function") is function


def test_a_lazy_entry_is_imported_when_it_is_asked_for(
    things: Registry[type], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lazily_loaded.py").write_text("class Lazy: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    things.register_lazy("lazy", "lazily_loaded:Lazy")
    assert things.names() == ["lazy"] and "lazily_loaded" not in sys.modules
    assert things.get("lazy").__name__ == "Lazy" and "lazily_loaded" in sys.modules
    monkeypatch.delitem(sys.modules, "lazily_loaded")


def test_a_clash_names_both_places(things: Registry[type]) -> None:
    things.register("thing")(Thing)
    with pytest.raises(PluginError) as caught:
        things.register("thing")(Other)
    first, second = things.origin("thing"), f"{__file__}:{_line_of('class Other:')}"
    assert first in str(caught.value) and second in str(caught.value) and "rename" in str(caught.value)
    assert things.get("thing") is Thing


def test_registering_the_same_class_again_is_no_clash(things: Registry[type]) -> None:
    things.register_lazy("thing", f"{__name__}:Thing")
    things.register("thing")(Thing)
    things.register("thing")(Thing)
    assert things.get("thing") is Thing


def test_an_unknown_name_suggests_the_closest(things: Registry[type]) -> None:
    things.register("selective_search")(Thing)
    with pytest.raises(UsageError, match=r"thing .*'selctive_search'.*Did you mean 'selective_search'\?.*things list"):
        things.get("selctive_search")
    with pytest.raises(UsageError, match="none to choose from"):
        Registry("thing").get("anything")
    with pytest.raises(UsageError, match="Did you mean"):
        things.origin("selective_serch")


def test_entry_points_are_found_and_loaded_lazily(things: Registry[type], distribute: Distribute) -> None:
    distribute("alpha", {"alpha_plugin": "class Alpha: ...\n"}, "alpha = alpha_plugin:Alpha")
    assert things.names() == ["alpha"] and "alpha_plugin" not in sys.modules
    assert things.get("alpha").__name__ == "Alpha"
    assert things.origin("alpha") == "alpha_plugin:Alpha of alpha 1.0"


def test_a_class_may_announce_itself_by_entry_point_and_decorator(distribute: Distribute) -> None:
    source = f"from {__name__} import SHARED\n@SHARED.register('both')\nclass Both: ...\n"
    distribute("both", {"both_plugin": source}, "both = both_plugin:Both")
    assert SHARED.get("both").__name__ == "Both"
    assert SHARED.broken() == {}


def test_a_broken_plugin_is_reported_by_name_and_the_others_work(
    things: Registry[type], distribute: Distribute
) -> None:
    modules = {
        "broken_import": "import a_package_that_nobody_has\n",
        "broken_exit": "raise SystemExit('bye')\n",
        "broken_name": "x = 1\n",
        "fine": "class Fine: ...\n",
    }
    lines = "a = broken_import:A\nb = broken_exit:B\nc = broken_name:C\nd = fine:Fine"
    distribute("mixed", modules, lines)
    assert list(things.loadable()) == ["d"]
    broken = things.broken()
    assert list(broken) == ["a", "b", "c"]
    for name, reason in (("a", "a_package_that_nobody_has"), ("b", "SystemExit: bye"), ("c", "has no attribute 'C'")):
        assert f"thing '{name}'" in broken[name] and "mixed 1.0" in broken[name] and reason in broken[name]
        with pytest.raises(PluginError, match=f"thing '{name}'"):
            things.get(name)


def test_a_missing_optional_package_says_which_extra_installs_it(
    things: Registry[type], distribute: Distribute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    distribute("needy", {"needy_plugin": "import matplotlib.pyplot\n"}, "needy = needy_plugin:Needy")
    with pytest.raises(PluginError, match=r"thing 'needy' \(needy_plugin:Needy of needy 1.0\).*wsol-bench\[plots\]"):
        things.get("needy")


def test_two_installed_plugins_with_one_name_are_both_refused(things: Registry[type], distribute: Distribute) -> None:
    distribute("alpha", {"alpha_plugin": "class A: ...\n"}, "same = alpha_plugin:A")
    distribute("beta", {"beta_plugin": "class B: ...\n"}, "same = beta_plugin:B\nok = beta_plugin:B")
    distribute("gamma", {"gamma_plugin": "class C: ...\n"}, "same = gamma_plugin:C")
    assert things.names() == ["ok"]
    with pytest.raises(PluginError, match=r"Two things are called 'same'.* of (alpha|beta|gamma) 1.0 and .* 1.0"):
        things.get("same")


def test_an_installed_plugin_does_not_replace_a_built_in_one(things: Registry[type], distribute: Distribute) -> None:
    things.register_lazy("thing", f"{__name__}:Thing")
    distribute("alpha", {"alpha_plugin": "class A: ...\n"}, "thing = alpha_plugin:A")
    assert things.get("thing") is Thing
    assert "Two things are called 'thing'" in things.broken()["thing"]
    assert "alpha 1.0" in things.broken()["thing"] and f"{__name__}:Thing" in things.broken()["thing"]


def test_what_does_not_fulfil_the_contract_is_refused_by_name() -> None:
    things: Registry[type] = Registry("thing", base=f"{__name__}:Thing")
    things.register_lazy("other", f"{__name__}:Other")
    with pytest.raises(PluginError, match=r"thing 'other'.*expected a subclass of .*Thing but got .*Other"):
        things.get("other")
    assert list(things.broken()) == ["other"]


def test_a_plugin_file_registers_once(plugin_file: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = plugin_file(
        "from wsol_bench.registry import METRICS\n\n\n@METRICS.register('of_a_file')\nclass OfAFile:\n    pass\n"
    )
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))
    module = load_plugin_file(path)
    assert load_plugin_file(path.parent / "." / path.name) == module
    assert METRICS.names_of(module) == ["of_a_file"]
    assert METRICS.get("of_a_file").__name__ == "OfAFile"
    assert METRICS.origin("of_a_file") == f"{path}:4"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def :", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("from wsol_bench.registry import DATASETS\n@DATASETS.register('critters')\nclass Mine: ...", "Two datasets"),
    ],
)
def test_a_plugin_file_that_fails_is_named(plugin_file: Callable[[str], Path], source: str, says: str) -> None:
    path = plugin_file(source)
    for _ in range(2):  # A failed import leaves nothing behind that would hide the second one.
        with pytest.raises(PluginError, match=says) as caught:
            load_plugin_file(path)
        assert str(path) in str(caught.value)


def test_a_plugin_file_must_be_there_and_be_python(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"no file '.*nope.py'"):
        load_plugin_file(tmp_path / "nope.py")
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    with pytest.raises(PluginError, match=r"Python file \(\*.py\)"):
        load_plugin_file(text)


@pytest.mark.parametrize("registry", [METHODS, DATASETS, ANNOTATORS, METRICS], ids=lambda one: one.kind)
def test_everything_built_in_loads(registry: Registry[type]) -> None:
    assert list(registry.loadable()) == registry.names()
    assert registry.names() and registry.broken() == {}


@pytest.mark.parametrize("name", METRICS.names())
def test_metrics_can_be_computed_and_merged(name: str) -> None:
    assert callable(METRICS.get(name).compute) and callable(METRICS.get(name).merge)


def _line_of(text: str) -> int:
    return Path(__file__).read_text().splitlines().index(text) + 1


SHARED: Registry[type] = Registry("thing", GROUP)
