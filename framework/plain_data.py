"""JSON data that describes a run: read, or refused in one line, and compared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registry import InputError
from registry.checksum import unchanged
from registry.errors import join


def verified(data: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The object that was read from ``path``, without its checksum.

    Raises:
        InputError: the checksum is missing, or is that of something else.
    """
    others = unchanged(data)
    if others is None:
        raise InputError.of(str(path), "does not match its own checksum: damaged or changed")
    return others


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        InputError: it holds anything else.
    """
    data = read_json(path)
    if not isinstance(data, dict):
        raise InputError.of(str(path), "is damaged (no JSON object)")
    return data


def read_json(path: Path) -> Any:
    """The JSON data in a file.

    Raises:
        InputError: it holds none.
    """
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise InputError.of(str(path), f"is damaged ({error})") from None


def differences(there: Any, here: Any, path: str = "") -> list[str]:
    """Where two pieces of JSON data differ, a clause each: ``training.iterations is 100 there, 200 here``."""
    if isinstance(there, dict) and isinstance(here, dict):
        keys = [*there, *(key for key in here if key not in there)]
        return [d for key in keys for d in differences(there.get(key), here.get(key), join(path, key))]
    if isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        pairs = enumerate(zip(there, here, strict=True))
        return [d for index, (one, other) in pairs for d in differences(one, other, f"{path}[{index}]")]
    if there == here:
        return []
    return [f"{path} is {_short(there)} there, {_short(here)} here"]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
