"""Reading of YAML and JSON files into typed models, with every mistake named at once."""

import difflib
import re
import reprlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from tidyvoice.errors import LONGEST_REASON, TidyVoiceError, reading, summarise

# Limits of a YAML file: those of people have a few kilobytes.
LARGEST_YAML, MOST_VALUES, DEEPEST = 2**20, 100_000, 100
INTEGER, LONGEST_INTEGER = "tag:yaml.org,2002:int", 18  # fits in 64 bits
LARGEST_JSON = 2**28  # bytes; a verifier of 100,000 cohort speakers has half of that

Settings = TypeVar("Settings", bound=BaseModel)


class Strict(BaseModel):
    """Settings that take no unknown key and only finite numbers, and do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def load_settings(
    model: type[Settings], path: str | Path, overrides: Sequence[str] = ()
) -> Settings:
    """Load settings of type ``model`` from a YAML file and overrides.

    A file whose ``base`` names another one, relative to itself, holds only what differs from it; so
    does one that the override ``base=FILE`` is given with. Overrides have dotted keys and YAML
    values: ``data.noise=null``.
    """
    changes: dict[str, Any] = {}
    for override in overrides:
        changes = _merged(changes, _nested(override))
    values = _with_base(Path(path))
    if "base" in changes:
        values = _merged(_with_base(Path(str(changes.pop("base")))), values)
    return validate(model, _merged(values, changes), path)


def _with_base(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    values = read_yaml(path)
    if path.resolve() in above:
        raise TidyVoiceError(f"{path}: is its own base: name another file")
    base = values.pop("base", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise TidyVoiceError(f"{path}: base: give the path of a YAML file, not {base!r}")
    return _merged(_with_base(path.parent / base, (*above, path.resolve())), values)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two mappings, and the mappings in them; the upper values replace the lower ones.

    Another component takes other settings: a new ``name`` drops the ``args`` of the old one.
    """
    merged = dict(below)
    names = {values["name"] for values in (below, above) if isinstance(values.get("name"), str)}
    if len(names) == 2:
        merged.pop("args", None)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _nested(override: str) -> dict[str, Any]:
    """Return ``a.b=value`` as {"a": {"b": value}}."""
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise TidyVoiceError(f"{override!r} is not key=value: write e.g. data.batch_size=32")
    value = _parse(text, repr(override))
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping."""
    with reading(path, "YAML file", "give the path of a YAML file"), open(path, "rb") as file:
        text = file.read(LARGEST_YAML + 1)
        if len(text) > LARGEST_YAML:
            raise ValueError(f"above {LARGEST_YAML:,} bytes")
        text = text.decode()
    values = _parse(text, str(path))
    if not isinstance(values, dict):
        raise TidyVoiceError(f"{path}: expected settings as 'key: value' lines")
    return values


def read_json(model: type[Settings], path: str | Path, fix: str) -> Settings:
    """Read a JSON file of type ``model``; ``fix`` says what to do if it is another file."""
    with reading(path, "JSON file", fix), open(path, "rb") as file:
        content = file.read(LARGEST_JSON + 1)
        if len(content) > LARGEST_JSON:
            raise ValueError(f"above {LARGEST_JSON:,} bytes")
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        problems = [_explain(model, problem) for problem in error.errors()]
        raise TidyVoiceError(f"{path}: {summarise(problems)}; {fix}") from None


def _parse(text: str, source: str) -> Any:
    try:
        with reading(source, "YAML", "correct it"):
            loader = _Loader(text)
            node = loader.get_single_node()
            _expanded(node, {})
            return loader.construct_document(node) if node else None
    except TidyVoiceError as error:
        mark = getattr(error.__cause__, "problem_mark", None)
        if mark is None:
            raise
        problem = f"{source} line {mark.line + 1}: no valid YAML ({error.__cause__.problem})"
        raise TidyVoiceError(problem) from None


def _expanded(node: yaml.Node | None, sizes: dict[yaml.Node, int], depth: int = 0) -> int:
    """Return the number of values of a node if each alias (*name) is written out.

    Ten lines of aliases to aliases can stand for a billion values. A key given twice is an error.
    """
    if node not in sizes:
        if depth > DEEPEST:
            raise ValueError(f"nested more than {DEEPEST} deep, or an alias to itself")
        children = node.value if isinstance(node, yaml.CollectionNode) else ()
        if isinstance(node, yaml.MappingNode):
            keys = set()
            for key, _ in children:
                if (name := str(key.value)) in keys:
                    problem = f"the key {name!r} stands twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                keys.add(name)
            children = [each for pair in children for each in pair]
        if getattr(node, "tag", None) == INTEGER and len(node.value) > LONGEST_INTEGER:
            raise ValueError(f"an integer of {len(node.value):,} digits")
        sizes[node] = 1 + sum(_expanded(child, sizes, depth + 1) for child in children)
        if sizes[node] > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES:,} values")
    return sizes[node]


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads 3e-4 as a string; settings mean the number."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def validate(model: type[Settings], values: Mapping[str, Any], source: str | Path) -> Settings:
    """Return settings of type ``model``; all mistakes are named as those of ``source``."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [_explain(model, problem) for problem in error.errors()]
        raise TidyVoiceError(f"{source}: {summarise(problems)}") from None
    except (OverflowError, RecursionError) as error:  # of regular expressions
        raise TidyVoiceError(f"{source}: a value is too large or deep ({error})") from None


def suggest(name: str, names: Collection[str], prefix: str = "") -> str:
    """Say which known name is nearest to a given one, or which names there are."""
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {prefix}{near[0]}?" if near else f"known are {', '.join(names)}"


def _explain(model: type[BaseModel], problem: dict[str, Any]) -> str:
    location = [" ".join(str(part).split())[:LONGEST_REASON] for part in problem["loc"]]
    prefix, last = "".join(f"{part}." for part in location[:-1]), "".join(location[-1:])
    key = prefix + last
    if problem["type"] == "extra_forbidden":
        fields = _fields_at(model, location[:-1])
        fix = suggest(last, fields, prefix) if fields else "remove it"
        if "args" in fields and fix.startswith("known"):
            fix += f" (settings of the component belong under {prefix}args)"
        return f"unknown key {key}: {fix}"
    if problem["type"] == "model_type":
        keys = ", ".join(f"{key}.{name}" for name in _fields_at(model, location))
        return f"{key} is a group of settings, not {problem['input']!r}: set one of {keys}"
    if problem["type"] == "missing":
        return f"the key {key} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    value = problem["input"]
    suffix = "" if isinstance(value, dict) else f" (it is {' '.join(_shown.repr(value).split())})"
    # A mistake of the settings as a whole has no key.
    return f"{key}: {message}{suffix}" if key else message


_shown = reprlib.Repr()
_shown.maxstring = _shown.maxother = 60
# Python refuses to write integers of 5,000 digits.
_shown.repr_int = lambda value, _: repr(value) if abs(value) < 2**64 else "a number beyond 64 bits"


def _fields_at(model: type[BaseModel], location: Sequence[str]) -> list[str]:
    parts = iter(location)
    for part in parts:
        if part not in model.model_fields:
            return []
        annotation = model.model_fields[part].annotation
        options = get_args(annotation) or [annotation]
        # In Python 3.10, tuple[X, ...] is an instance of type.
        classes = [t for t in options if isinstance(t, type) and get_origin(t) is None]
        model = next((t for t in classes if issubclass(t, BaseModel)), None)
        if model is None:  # nested tuples
            return []
        if get_origin(annotation) in (dict, tuple):
            next(parts, None)  # the dictionary's key, or the place in the tuple
    return list(model.model_fields)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one mapping with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the dotted keys whose values differ, sorted, with both values (None where absent)."""
    left, right = flatten(first), flatten(second)
    return {
        key: (left.get(key), right.get(key))
        for key in sorted({*left, *right})
        if left.get(key) != right.get(key)
    }
