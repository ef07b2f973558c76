"""Plain data that says what it is: an entry with the digest of all others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

CHECKSUM = "checksum"
"""The entry of an object with the SHA-256 of all its others."""


def checksummed(data: Mapping[str, Any]) -> dict[str, Any]:
    """The object with its checksum: whoever reads it finds out if anything in it was changed."""
    others = {name: value for name, value in data.items() if name != CHECKSUM}
    text = json.dumps(others, sort_keys=True)
    return {**others, CHECKSUM: hashlib.sha256(text.encode()).hexdigest()}


def unchanged(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """The object without its checksum; None where that is missing, or is one of something else."""
    if data.get(CHECKSUM) != checksummed(data)[CHECKSUM]:
        return None
    return {name: value for name, value in data.items() if name != CHECKSUM}
