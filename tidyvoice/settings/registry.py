"""Registries of components that settings choose by name and arguments.

A component is a class, or a function that builds one, below the decorator of its registry:

    @MODELS.register("SimAM_ResNet34_ASP")
    def simam_resnet34(feat_dim: int, in_planes: int = 64, embed_dim: int = 256): ...

The parameters that have defaults or are keyword-only are its settings: a YAML file gives them under
``args``, and they are checked against the annotations (which may be ``Annotated[int, Field(ge=1)]``
or ``Literal``). The others, which come first, come from the program.
"""

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, create_model

from tidyvoice.errors import TidyVoiceError
from tidyvoice.settings import validate

Component = TypeVar("Component", bound=Callable[..., Any])


class Registry(Generic[Component]):
    """Components by name.

    Args:
        kind: what the components are, for error messages: "model".
    """

    def __init__(self, kind: str):
        self.kind = kind
        self._components: dict[str, Component] = {}

    def register(self, name: str) -> Callable[[Component], Component]:
        """Return a decorator that adds a component under this name."""

        def add(component: Component) -> Component:
            if name in self._components:
                raise ValueError(f"two {self.kind}s are called {name}")
            self._components[name] = component
            return component

        return add

    def __getitem__(self, name: str) -> Component:
        if name not in self._components:
            raise TidyVoiceError(f"no {self.kind} is called {name!r}: {suggest(name, self)}")
        return self._components[name]

    def __contains__(self, name: object) -> bool:
        return name in self._components

    def __iter__(self) -> Iterator[str]:
        return iter(self._components)

    def arguments(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return all settings of a component: those given, the others at their defaults.

        Raises:
            TidyVoiceError: no such component, or unknown or impossible arguments; all of them are
                named, unknown ones with the nearest known name.
        """
        return validate(_settings_of(self[name], name), given, name).model_dump()

    def provided(self, name: str) -> list[str]:
        """Return the names of the parameters of a component that come from the program."""
        parameters = inspect.signature(self[name]).parameters.values()
        return [parameter.name for parameter in parameters if not _is_setting(parameter)]

    def build(self, name: str, *provided: Any, **args: Any) -> Any:
        """Build a component from what the program provides and its checked settings.

        Raises:
            TidyVoiceError: see ``arguments``.
        """
        return self[name](*provided, **self.arguments(name, args))


def suggest(given: str, known: Iterable[str]) -> str:
    """Say which known name is nearest to a given one, or which names there are."""
    known = list(known)
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"


def _is_setting(parameter: inspect.Parameter) -> bool:
    return parameter.default is not parameter.empty or parameter.kind is parameter.KEYWORD_ONLY


@functools.cache
def _settings_of(component: Callable[..., Any], name: str) -> type[BaseModel]:
    """Make a model of settings from the parameters of a component that are settings."""
    function = component.func if isinstance(component, functools.partial) else component
    hints = get_type_hints(
        function.__init__ if inspect.isclass(function) else function, include_extras=True
    )
    fields = {
        parameter.name: (
            hints[parameter.name],
            ... if parameter.default is parameter.empty else parameter.default,
        )
        for parameter in inspect.signature(component).parameters.values()
        if _is_setting(parameter)
    }
    return create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
