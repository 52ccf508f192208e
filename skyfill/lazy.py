"""Import on first use: the names of a package, and modules under the names that they once had."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["keep_names", "on_first_use"]


def on_first_use(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """Make the ``__getattr__`` of a package that imports its names on first use.

    Parameters
    ----------
    package
        Its ``__name__``.
    homes
        For each public name the module that holds it, relative to the package. Modules of the
        package need not be listed.

    Returns
    -------
    Gives the attribute of a name, and keeps it in the package. Raises AttributeError for others.

    Notes
    -----
    A module may hold a function of its own name. Importing the module would put it in the
    function's place in the package, so the package is made to refuse that.
    """
    hidden = {name for name, home in homes.items() if name == home}

    class Package(ModuleType):
        """A package in which modules do not replace functions of the same name."""

        def __setattr__(self, name: str, value: object) -> None:
            if name not in hidden or not isinstance(value, ModuleType):
                super().__setattr__(name, value)

    if hidden:
        sys.modules[package].__class__ = Package

    def attribute(name: str) -> object:
        value: object
        if name in homes:
            value = getattr(import_module(f"{package}.{homes[name]}"), name)
        else:
            value = _module(package, name)
        setattr(sys.modules[package], name, value)
        return value

    return attribute


def _module(package: str, name: str) -> ModuleType:
    """Import a module of a package; raise AttributeError where there is none."""
    whole = f"{package}.{name}"
    try:
        if not name.startswith("_"):
            return import_module(whole)
    except ModuleNotFoundError as error:
        if error.name != whole:  # it is there, and something that it needs is not
            raise
    raise AttributeError(f"module {package!r} has no attribute {name!r}")


def keep_names(moved: Mapping[str, str]) -> None:
    """Let modules be imported under other names, too: both are then one module.

    Parameters
    ----------
    moved
        For each other name the module's own, both in full.
    """
    sys.meta_path.append(_Elsewhere(moved))


class _Elsewhere:
    """Find modules under the names that they once had."""

    def __init__(self, moved: Mapping[str, str]) -> None:
        self._moved = moved

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002 (the import system's own signature)
        """Say that this object loads a module, if it knows the name."""
        return ModuleSpec(name, self) if name in self._moved else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Import the module under its own name."""
        module = import_module(self._moved[spec.name])
        spec.loader_state = module.__spec__  # the import system is about to replace it
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing more than to restore what says where the module comes from."""
        if module.__spec__ is not None:
            module.__spec__ = module.__spec__.loader_state
