"""Registries of components that settings choose by name and arguments.

A component is a class, or a function that builds one, below the decorator of its registry:

    @MODELS.register("SimAM_ResNet34_ASP")
    def simam_resnet34(feat_dim: int, in_planes: int = 64, embed_dim: int = 256): ...

The parameters that have defaults or are keyword-only are its settings: a YAML file gives them under
``args``, and they are checked against the annotations (which may be ``Annotated[int, Field(ge=1)]``
or ``Literal``). The others, which come first, come from the program.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Generic, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, create_model, field_validator

from tidyvoice.errors import TidyVoiceError
from tidyvoice.settings import Strict, suggest, validate

# A number of steps, epochs or things: products of a few of them fit in 64 bits.
Count = Annotated[int, Field(ge=1, le=10**6)]

Component = TypeVar("Component", bound=Callable[..., Any])


class Registry(dict[str, Component], Generic[Component]):
    """Components by name; ``kind`` is what they are, for error messages: "model"."""

    def __init__(self, kind: str):
        self.kind = kind

    def register(self, name: str) -> Callable[[Component], Component]:
        """Return a decorator that adds a component under this name."""
        if name in self:
            raise ValueError(f"two {self.kind}s are called {name}")

        def add(component: Component) -> Component:
            self[name] = component
            return component

        return add

    def __missing__(self, name: str) -> Component:
        raise TidyVoiceError(f"no {self.kind} is called {name!r}: {suggest(name, self)}")

    def check_name(self, name: str) -> str:
        """Return a registered name; a ValueError about another one names the nearest."""
        if name not in self:
            raise ValueError(suggest(name, self))
        return name

    def arguments(self, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return all settings of a component: those given, the others at their defaults."""
        return validate(_settings_of(self[name], name), values, name).model_dump()

    def provided(self, name: str) -> list[str]:
        """Return the names of the parameters of a component that come from the program."""
        parameters = inspect.signature(self[name]).parameters
        return [key for key in parameters if key not in _settings_of(self[name], name).model_fields]

    def build(self, name: str, *provided: Any, **args: Any) -> Any:
        """Build a component from what the program provides and its settings (``arguments``)."""
        return self[name](*provided, **self.arguments(name, args))


@functools.cache
def _settings_of(component: Callable[..., Any], name: str) -> type[BaseModel]:
    """Make a model of settings from the parameters of a component that are settings."""
    function = component.func if isinstance(component, functools.partial) else component
    hints = get_type_hints(
        function.__init__ if inspect.isclass(function) else function, include_extras=True
    )
    fields: dict[str, Any] = {}
    for key, parameter in inspect.signature(component).parameters.items():
        if parameter.default is not parameter.empty:
            fields[key] = hints[key], parameter.default
        elif parameter.kind is parameter.KEYWORD_ONLY:
            fields[key] = hints[key], ...
    return create_model(name, __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **fields)


class ComponentSettings(Strict):
    """A component of a registry, by name, and all of its settings."""

    registry: ClassVar[Registry]
    # Settings that another section decides: name and section.
    decided_elsewhere: ClassVar[dict[str, str]] = {}
    # What the program provides to a component that is built to check its settings.
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
        for key in cls.decided_elsewhere.keys() & args:
            raise ValueError(f"{key}: leave it out; {cls.decided_elsewhere[key]} decides it")
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
