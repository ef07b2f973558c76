"""Pieces of HTML; every text of the user's is escaped here."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: object) -> Html:
    """``value`` as HTML: escaped, unless it is HTML already."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def tag(name: str, *children: object, **attributes: object) -> Html:
    """An element; ``class_`` is the attribute ``class``, True an attribute without a value, None none."""
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(str(value), quote=True)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return Html(f"<{name}{written}>{join(children)}</{name}>")


def join(children: Iterable[object]) -> Html:
    """Elements and texts in a row."""
    return Html("".join(text(child) for child in children))


def table(head: Sequence[object], rows: Iterable[Sequence[object]], caption: str | None = None) -> Html:
    """A table that scrolls by itself where the page is narrow."""
    body = [tag("tr", *[tag("th" if not column else "td", cell) for column, cell in enumerate(row)]) for row in rows]
    top = tag("thead", tag("tr", *[tag("th", cell, scope="col") for cell in head]))
    named = [tag("caption", caption)] if caption else []
    return tag("div", tag("table", *named, top, tag("tbody", *body)), class_="wide")


def folded(summary: object, *children: object) -> Html:
    """What unfolds at a click."""
    return tag("details", tag("summary", summary), *children)


def section(title: str, *children: object) -> Html:
    """A section with its heading."""
    name = title.lower().replace(" ", "-")
    return tag("section", tag("h2", title, id=name), *children)


def missing(what: str) -> Html:
    """Where a part of the page is not there: why, and how it comes."""
    return tag("p", what, class_="missing")


def video(data: bytes, label: str) -> Html:
    """A film inside the page: silent, endless, and started with all others."""
    source = "data:video/mp4;base64," + base64.b64encode(data).decode()
    return tag("video", src=source, muted=True, loop=True, autoplay=True, playsinline=True, aria_label=label)


def picture(data: bytes, label: str) -> Html:
    """A PNG inside the page."""
    written = tag("img", src="data:image/png;base64," + base64.b64encode(data).decode(), alt=label)
    return Html(written.removesuffix("</img>"))
