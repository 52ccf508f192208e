"""Import on first use: the names of a package, and modules under their former names."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

__all__ = ["MissingExtraError", "keep_names", "needs", "on_first_use"]

#: Optional libraries, the extra that installs each, and what it is needed for.
_EXTRAS = {
    "torch": ("vae", "the methods vae, cosmovae and other networks, and GPUs"),
    "zarr": ("tiles", "stores of tiles"),
    "jinja2": ("report", "reports"),
    "matplotlib": ("plot", "pictures and plots"),
    "reproject": ("images", "images that are pasted onto HEALPix"),
    "healsparse": ("healsparse", "HealSparse maps"),
    "h5py": ("hdf5", "maps in HDF5"),
}


class MissingExtraError(ImportError, ValueError):
    """An optional library is not installed; the message says how to install it."""


def needs(library: str, extra: str | None = None) -> None:
    """Refuse to go on without an optional library.

    Parameters
    ----------
    library
        Its name.
    extra
        The extra to install; by default the smallest that has the library.

    Raises
    ------
    MissingExtraError
        The library is not installed.
    """
    if find_spec(library) is None:
        usual, use = _EXTRAS[library]
        raise MissingExtraError(
            f"{use} need {library}, which is not installed: pip install"
            f" 'skyfill[{extra or usual}]'",
            name=library,
        )


def on_first_use(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """Make the ``__getattr__`` of a package that imports its names on first use.

    Parameters
    ----------
    package
        Its ``__name__``.
    homes
        For each public name the module that defines it, relative to the package. Modules of the
        package need not be listed.

    Returns
    -------
    Function that gives the attribute of a name and stores it in the package. It raises
    AttributeError for unknown names.

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
        try:
            if name in homes:
                value = getattr(import_module(f"{package}.{homes[name]}"), name)
            else:
                value = _module(package, name)
        except ModuleNotFoundError as error:
            if error.name in _EXTRAS:
                needs(error.name)
            raise
        setattr(sys.modules[package], name, value)
        return value

    return attribute


def _module(package: str, name: str) -> ModuleType:
    """Import a module of a package; raise AttributeError if there is none."""
    whole = f"{package}.{name}"
    try:
        if not name.startswith("_"):
            return import_module(whole)
    except ModuleNotFoundError as error:
        if error.name != whole:  # the module exists, but one of its own imports fails
            raise
    raise AttributeError(f"module {package!r} has no attribute {name!r}")


def keep_names(moved: Mapping[str, str]) -> None:
    """Let modules also be imported under other names; both names give the same module.

    Parameters
    ----------
    moved
        The full name of the module for each full alternative name.
    """
    sys.meta_path.append(_Elsewhere(moved))


class _Elsewhere:
    """Find modules under their former names."""

    def __init__(self, moved: Mapping[str, str]) -> None:
        self._moved = moved

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002 (the import system's own signature)
        """Return a spec for a known alternative name, else None."""
        return ModuleSpec(name, self) if name in self._moved else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Import the module under its own name."""
        module = import_module(self._moved[spec.name])
        spec.loader_state = module.__spec__  # the import system is about to replace the spec
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Restore the module's spec and loader; it is imported already."""
        if module.__spec__ is not None:
            module.__spec__ = module.__spec__.loader_state
