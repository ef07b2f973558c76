"""Tables of text."""

from __future__ import annotations

from collections.abc import Sequence

GIGA, TERA = 1e9, 1e12
Row = tuple[str, list[str]]
"""A name and its cells; without cells it is a heading, or a gap."""


def table(header: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Rows of cells below a header, the first column to the left, the others to the right."""
    cells = [list(header), *([name, *values] for name, values in rows)]
    count = len(header)
    widths = [max(len(row[column]) for row in cells if len(row) == count) for column in range(count)]
    widths[0] = max(len(row[0]) for row in cells)
    lines = []
    for row in cells:
        rest = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=False)]
        lines.append("  ".join([row[0].ljust(widths[0]), *rest]).rstrip())
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]
