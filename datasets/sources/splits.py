"""Names of splits as datasets spell them."""

from __future__ import annotations

_SPELLINGS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "validate": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


def split_named(text: str) -> str | None:
    """``train``, ``val`` or ``test``, whichever ``text`` spells; None when it spells none."""
    return _SPELLINGS.get(text.strip().lower())


def split_in(text: str) -> str | None:
    """The split that a file's name speaks of, as ``kinetics-400_val`` and ``bdd100k_labels_images_train`` do."""
    words = text.lower().replace("-", "_").replace(".", "_").split("_")
    return next((split for split in map(split_named, words) if split), None)
