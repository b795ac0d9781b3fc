"""Print docs/settings.md: python -m local.settings_reference > docs/settings.md"""

import inspect
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel

from tidyvoice.config import Experiment
from tidyvoice.models.pooling import POOLINGS
from tidyvoice.settings.registry import Registry

TEXTS = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
TABLE = "\n| key | default | meaning |\n|---|---|---|"


def row(key: str, default: Any, meaning: str, kind: Any) -> str:
    """Return a row of a table; the meaning ends with the values of a Literal."""
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    listed = f" (`{'`, `'.join(choices)}`)" if choices[1:] else ""
    value = "`" + json.dumps(default, default=lambda missing: "required").replace('"', "") + "`"
    return f"| `{key}` | {value} | {meaning}{listed} |".replace("``", "`")


def section(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """Yield the lines of a section, then those of the sections in it."""
    inner, summary = [], " ".join(inspect.getdoc(model).split())
    yield f"\n## `{prefix[:-1]}`\n\n{summary}\n{TABLE}" if prefix else TABLE
    for key, field in model.model_fields.items():
        types = [field.annotation, *get_args(field.annotation)]
        below = [kind for kind in types if hasattr(kind, "model_fields")]
        inner += [(kind, f"{prefix}{key}.") for kind in below]
        if key != "args" and (not below or field.default in (None, ())):
            meaning = TEXTS["keys"].get(prefix + key, TEXTS["keys"].get(key, field.description))
            yield row(prefix + key, field.default, meaning, field.annotation)
    if hasattr(model, "registry"):
        yield from components(model.registry, prefix, model.decided_elsewhere)
    for kind, name in inner:
        yield from section(kind, name)


def components(registry: Registry, prefix: str, elsewhere: dict[str, str]) -> Iterator[str]:
    """Yield the settings of the components; those with the same settings share a table."""
    alike = defaultdict(list)
    for name in registry:
        source = getattr(registry[name], "func", registry[name])
        docs = "\n".join(inspect.getdoc(cls) or "" for cls in getattr(source, "__mro__", [source]))
        meanings = dict(re.findall(r"^    (\w+): (.*?)\.?$", docs, re.MULTILINE)) | TEXTS["args"]
        text = f"{docs.splitlines()[0]}\n{TABLE}"
        for key, arg in inspect.signature(registry[name]).parameters.items():
            if key not in (*registry.provided(name), *elsewhere):
                line = row(f"{prefix}args.{key}", arg.default, meanings[key], arg.annotation)
                text += f"\n{line}"
        alike[text.replace("``", "`")].append(f"`{name}`")
    yield from (f"\n{', '.join(names)}: {text}" for text, names in alike.items())


if __name__ == "__main__":
    page = TEXTS["page"].format(poolings=", ".join(f"`{name}`" for name in POOLINGS))
    print(page + "\n".join(section(Experiment, "")))
