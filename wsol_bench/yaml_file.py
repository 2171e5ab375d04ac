"""YAML files as validated models: whatever is wrong is named with its file and key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from wsol_bench.errors import DataError, did_you_mean

Model = TypeVar("Model", bound=BaseModel)

_BARE_EXPONENT: Final = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")


class StrictModel(BaseModel):
    """Base of everything read from YAML: unknown keys are errors, objects never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read_yaml(path: Path, model: type[Model]) -> Model:
    """Reads a YAML file into a model.

    Two habits of YAML 1.1 that bite people are changed: ``1e-3`` is a number, and a key written twice is an error.

    Raises:
        DataError: the file cannot be read, is not YAML, or its content does not fit; every offending key is named.
    """
    return validated(read_content(path), model, path)


def read_content(path: Path) -> Any:
    """Returns what a YAML file holds, as plain values.

    Raises:
        DataError: the file cannot be read, or is not YAML.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Expected a YAML file but it cannot be read ({error}).", path) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        raise DataError(f"Expected YAML but: {problem}.", path, None if mark is None else mark.line + 1) from error


def yaml_text(content: Any) -> str:
    """Returns plain values as YAML that :func:`read_content` reads back as they are; short lists stay on one line."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=120)


def validated(content: Any, model: type[Model], path: Path) -> Model:
    """Makes a model of plain values that came from ``path``.

    Raises:
        DataError: they do not fit; every offending key is named.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        name = model.__name__.lower()
        raise DataError(f"Expected a {name} but: {'; '.join(_problems(error, content, model))}.", path) from error


class _Loader(yaml.SafeLoader):
    """The safe loader with numbers as people write them and without silent repetition."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key in seen:
                problem = f"the key '{key}' occurs twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            if key is not None:
                seen.add(key)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes texts that the loader would take for numbers, such as the trial id ``12345678e012``."""


for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver("tag:yaml.org,2002:float", _BARE_EXPONENT, list("-+0123456789"))


def _problems(error: ValidationError, content: Any, model: type[BaseModel]) -> list[str]:
    """One text per offending key; what the branches of a union say about the same key is joined by 'or'."""
    by_key: dict[str, list[str]] = {}
    for item in error.errors():
        loc = _real_keys(item["loc"], content)
        key = ".".join(map(str, loc))
        text = (
            item["msg"]
            .removeprefix("Value error, ")
            .replace("Input should", "should")
            .replace("Field required", "is missing")
        )
        if item["type"] == "extra_forbidden":
            text = "is not a known key" + _suggestion(str(loc[-1]), _model_at(model, loc[:-1]))
        elif item["type"] not in ("missing", "value_error"):
            text = f"{text} (got {item['input']!r})" if loc else f"the content {text}"
        by_key.setdefault(key, []).append(text)
    return [f"{key} {' or '.join(dict.fromkeys(texts))}".strip() for key, texts in by_key.items()]


def _suggestion(key: str, model: type[BaseModel]) -> str:
    suggestion = did_you_mean(key, model.model_fields).strip()
    return f" ({suggestion})" if suggestion else ""


def _real_keys(loc: tuple[int | str, ...], content: Any) -> tuple[int | str, ...]:
    """The part of an error's location that the writer of the file can see; pydantic adds names of union branches."""
    for depth, key in enumerate(loc):
        if not isinstance(content, dict | list):
            return loc[:depth]
        try:
            content = content[key]  # type: ignore[index]
        except (KeyError, IndexError):
            return loc[: depth + 1]
        except TypeError:
            return loc[:depth]
    return loc


def _model_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    """The model that describes the mapping at ``loc``; keys of dictionaries and indices of lists name no model."""
    for key in loc:
        if key in model.model_fields:
            found = _models_in(model.model_fields[str(key)].annotation)
            model = found[0] if found else model
    return model


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _models_in(argument)]
