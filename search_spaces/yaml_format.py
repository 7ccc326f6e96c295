"""A space as plain data and as YAML text."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml

from search_spaces.dimensions import dimension_from_dict
from search_spaces.errors import DimensionError, SpaceError, SpaceFileError
from search_spaces.menu import Options

__all__ = ["VERSION", "as_dict", "guarded", "read", "slots_from", "write"]

VERSION: Final = 1
"""Version of the format; raised when old readers would misread a new file."""

_Result = TypeVar("_Result")


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which also refuses a key that is given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"{', '.join(twice)} is given twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, which quotes what `_Loader` would read as a number."""


# PyYAML follows YAML 1.1, where 1e-3 is a string; people who edit a file mean the number.
for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
    )


def as_dict(slots: Mapping[str, Options]) -> dict[str, Any]:
    """Give a menu as plain dicts, lists and scalars."""
    return {
        "version": VERSION,
        "slots": {
            slot: {
                option: {name: dimension.to_dict() for name, dimension in settings.items()}
                for option, settings in options.items()
            }
            for slot, options in slots.items()
        },
    }


def slots_from(plain_dict: object) -> dict[str, Options]:
    """Read what `as_dict` gave.

    Raises
    ------
    SpaceError
        If it has another shape or version.
    """
    data = _mapping("a search space", plain_dict)
    version = data.get("version")
    if version != VERSION or isinstance(version, bool):
        raise SpaceFileError(
            f"a search space must be of version {VERSION}; got version: {version!r}; "
            "a newer one needs a newer release"
        )
    if set(data) != {"version", "slots"}:
        raise SpaceFileError(
            f"a search space must hold version and slots, nothing else; got {list(data)!r}"
        )
    return {
        slot: {
            option: {
                name: _dimension(f"{slot}.{option}.{name}", entry)
                for name, entry in _mapping(f"{slot}.{option}", settings).items()
            }
            for option, settings in _mapping(f"slot {slot}", options).items()
        }
        for slot, options in _mapping("slots", data["slots"]).items()
    }


def write(plain_dict: Mapping[str, Any], path: str | PathLike[str] | None) -> str:
    """Give YAML text and, with `path`, write it there."""
    text = yaml.dump(
        dict(plain_dict), Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=100
    )
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text


def read(path_or_text: str | PathLike[str]) -> object:
    """Read YAML from a file, or from text of several lines or in braces.

    Raises
    ------
    SpaceFileError
        If the file cannot be read or is no YAML.
    """
    text, source = _text_of(path_or_text)
    try:
        return yaml.load(text, Loader=_Loader)  # derived from SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpaceFileError(f"a search space must be YAML; {source}: {error}") from error


def guarded(make: Callable[[], _Result]) -> _Result:
    """Call `make`; whatever it finds wrong with a space is an error of the file."""
    try:
        return make()
    except SpaceFileError:
        raise
    except SpaceError as error:
        raise SpaceFileError(f"no search space: {error}") from error


def _text_of(path_or_text: str | PathLike[str]) -> tuple[str, str]:
    name = fspath(path_or_text)
    is_text = isinstance(path_or_text, str) and ("\n" in name or name.lstrip().startswith("{"))
    if is_text:
        return name, "the text given"
    try:
        return Path(name).read_text(encoding="utf-8"), f"file {name!r}"
    except (OSError, UnicodeDecodeError) as error:
        raise SpaceFileError(
            f"from_yaml takes a readable file, or YAML text of several lines; got {name!r}: {error}"
        ) from error


def _mapping(place: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SpaceFileError(f"{place} must be a mapping; got {value!r}")
    for name in value:
        if not isinstance(name, str):
            raise SpaceFileError(f"names must be strings (quote them); got {name!r} in {place}")
    return value


def _dimension(place: str, entry: object) -> Any:
    try:
        return dimension_from_dict(_mapping(place, entry))
    except DimensionError as error:
        raise SpaceFileError(f"{place}: {error}") from error
