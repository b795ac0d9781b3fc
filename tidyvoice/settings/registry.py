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
from typing import Any, ClassVar, Generic, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, create_model, field_validator

from tidyvoice.errors import TidyVoiceError
from tidyvoice.settings import Strict, validate

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

    def check_name(self, name: str) -> str:
        """Return a name that is registered.

        Raises:
            ValueError: it is not; the message names the nearest one.
        """
        if name not in self:
            raise ValueError(suggest(name, self))
        return name

    def __contains__(self, name: object) -> bool:
        return name in self._components

    def __iter__(self) -> Iterator[str]:
        return iter(self._components)

    def arguments(self, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return all settings of a component: those given, the others at their defaults.

        Raises:
            TidyVoiceError: no such component, or unknown or impossible arguments; all of them are
                named, unknown ones with the nearest known name.
        """
        return validate(_settings_of(self[name], name), values, name).model_dump()

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


def suggest(name: str, names: Iterable[str]) -> str:
    """Say which known name is nearest to a given one, or which names there are."""
    names = list(names)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}"


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


class ComponentSettings(Strict):
    """A component of a registry, by name, and all of its settings.

    Attributes:
        decided_elsewhere: settings that another section decides: name and section.
        trial: what the program provides, for a component that is cheap to build: then it is built
            to check its settings.
    """

    registry: ClassVar[Registry]
    decided_elsewhere: ClassVar[dict[str, str]] = {}
    trial: ClassVar[tuple | None] = None

    name: str
    args: dict[str, Any] = Field({}, description="its settings", validate_default=True)

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return cls.registry.check_name(name)

    @field_validator("args", mode="before")
    @classmethod
    def _all_settings(cls, args: object, info: ValidationInfo) -> object:
        if "name" not in info.data or not isinstance(args, dict):
            return args
        for key, place in cls.decided_elsewhere.items():
            if key in args:
                raise ValueError(f"{key}: leave it out; {place} decides it")
        try:
            settings = cls.registry.arguments(info.data["name"], args)
            if cls.trial is not None:
                cls.registry[info.data["name"]](*cls.trial, **settings)
        except TidyVoiceError as error:
            raise ValueError(str(error)) from None
        return {key: value for key, value in settings.items() if key not in cls.decided_elsewhere}

    def build(self, *provided: Any) -> Any:
        """Build the component from what the program provides and its settings."""
        return self.registry.build(self.name, *provided, **self.args)
