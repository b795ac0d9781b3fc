"""A component of a registry as a group of settings: ``name`` and ``args``."""

from typing import Any, ClassVar

from pydantic import Field, ValidationInfo, field_validator

from tidyvoice.errors import TidyVoiceError
from tidyvoice.settings import Strict
from tidyvoice.settings.registry import Registry, suggest


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
        if name not in cls.registry:
            raise ValueError(suggest(name, cls.registry))
        return name

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
