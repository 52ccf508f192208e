"""Say in less than a line what an object is: short reprs, and tables for notebooks."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from html import escape

__all__ = ["brief", "card"]

#: Most characters of a repr; longer ones leave out their last attributes.
_MOST = 190
#: Most characters of one attribute.
_LONG = 60


def brief(one: object) -> str:
    """Write a dataclass or a named tuple in less than 200 characters; arrays by shape and type.

    Use it as ``__repr__ = brief`` in the class.
    """
    name = type(one).__qualname__
    if is_dataclass(one):
        shown = [each.name for each in fields(one) if each.repr]
    else:
        shown = list(getattr(one, "_fields", ()))
    words = [f"{each}={_short(getattr(one, each, None))}" for each in shown]
    text = f"{name}({', '.join(words)})"
    while len(text) > _MOST:
        words.pop()
        text = f"{name}({', '.join([*words, '...'])})"
    return text


def _short(value: object) -> str:
    """Write one attribute in a few words."""
    shape, kind = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple) and kind is not None and shape:
        return f"<{'x'.join(map(str, shape))} {kind}>"
    if isinstance(value, float) or (kind is not None and shape == ()):
        return f"{value:.6g}" if isinstance(value, float) else str(value)
    if isinstance(value, list | tuple | set | frozenset | dict) and len(value) > 3:
        return f"<{len(value)} of {type(value).__name__}>"
    if is_dataclass(value) and not isinstance(value, type):
        return f"{type(value).__qualname__}(...)"
    text = repr(value)
    if len(text) <= _LONG:
        return text
    kind = type(value).__qualname__
    return f"<{len(value)} of {kind}>" if isinstance(value, list | tuple) else f"<{kind}>"


def card(title: str, rows: Mapping[str, object], picture: Callable[[], bytes] | None = None) -> str:
    """Write the HTML that a notebook shows: a table of a few numbers beside a picture.

    Parameters
    ----------
    title
        The object in a few words.
    rows
        Names and values.
    picture
        Makes the picture, PNG. Without matplotlib the table stands alone.
    """
    lines = "".join(
        f"<tr><td style='text-align:left;opacity:.7'>{escape(str(name))}</td>"
        f"<td style='text-align:left'>{escape(str(value))}</td></tr>"
        for name, value in rows.items()
    )
    image = ""
    if picture is not None:
        try:
            data = b64encode(picture()).decode("ascii")
            image = f"<img alt='{escape(title)}' src='data:image/png;base64,{data}'>"
        except ImportError:  # matplotlib is optional
            image = ""
    return (
        "<div style='display:flex;gap:1em;align-items:center;flex-wrap:wrap'>"
        f"{image}<table><caption style='text-align:left'><b>{escape(title)}</b></caption>"
        f"{lines}</table></div>"
    )
