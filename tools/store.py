"""Look into a clip store, or check every byte of it."""

from __future__ import annotations

import _path  # noqa: F401  # before any other import: see there

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from datasets import ClipStore, DamagedStoreError
from datasets.picture import contact_sheet, save_png
from datasets.verify import Damage, verify
from registry import InputError
from registry.cli import complain, named_path, run, say

DAMAGED = 1
SHOWN_CLIPS = 10


def main(arguments: argparse.Namespace) -> int:
    """Inform or verify."""
    _check_picture(arguments)
    if arguments.action == "info":
        return show_info(ClipStore(path=str(arguments.store)), arguments)
    try:
        store = ClipStore(path=str(arguments.store))
    except DamagedStoreError as error:
        complain(str(error))  # without manifest and index there is nothing to hold the rest against
        return DAMAGED
    return show_damage(store, arguments)


def _check_picture(arguments: argparse.Namespace) -> None:
    """Refuse a picture that cannot be drawn, before anything else is done."""
    if arguments.picture is None:
        return
    if arguments.action != "info":
        raise InputError.of("--picture", f"{arguments.action} draws none", allowed="with info")
    if arguments.picture.suffix.lower() != ".png" or arguments.picture.is_dir():
        what = "is a folder" if arguments.picture.is_dir() else "is not named as PNG"
        raise InputError.of("--picture", f"{str(arguments.picture)!r} {what}", allowed="FILE.png")


def show_info(store: ClipStore, arguments: argparse.Namespace) -> int:
    """Print what the store holds; with ``--picture`` draw it."""
    facts = describe(store)
    if arguments.picture:
        save_png(arguments.picture, contact_sheet(store))
    if arguments.json:
        say(json.dumps(facts, indent=1, ensure_ascii=False))
    else:
        say(*(f"{name:12} {value}" for name, value in _in_words(facts).items()))
    return 0


def _in_words(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts as lines for a person."""
    classes, levels, attributes = (facts.pop(name) for name in ("classes", "levels", "attributes"))
    facts["hours"] = "not known" if facts["hours"] is None else facts["hours"]
    facts["classes"] = "none" if classes is None else f"{len(classes)} ({_some(classes)})"
    for number, level in enumerate(levels):
        view = level["view"] or "the frames as they are"
        size = f"{level['height']}x{level['width']}, {level['shards']} shards, {level['bytes']} bytes"
        facts[f"level {number}"] = f"{size}: {view}"
    for name, counts in attributes.items():
        facts[name] = _some([f"{value or 'none'} {count}" for value, count in counts.items()])
    return facts


def describe(store: ClipStore) -> dict[str, Any]:
    """The facts about a store, as plain data."""
    lengths, seconds = store.lengths(), store.manifest.seconds
    return {
        "store": str(store.path),
        "clips": len(store),
        "frames": int(lengths.sum()),
        "hours": None if seconds is None else round(seconds / 3600, 4),
        "shortest": int(lengths.min()),
        "longest": int(lengths.max()),
        "height": store.height,
        "width": store.width,
        "channels": store.channels,
        "stride": store.stride,
        "codec": store.settings.codec,
        "bytes": sum(path.stat().st_size for path in store.path.rglob("*") if path.is_file()),
        "levels": [_level(store, number) for number in range(len(store.levels))],
        "classes": store.classes,
        "attributes": {name: _counts(store, name) for name in store.manifest.attributes},
        "fingerprint": store.fingerprint,
    }


def _level(store: ClipStore, number: int) -> dict[str, Any]:
    level = store.manifest.levels[number]
    files = [path for path in (store.path / "levels" / str(number) / "c").rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    return {"height": level.height, "width": level.width, "view": level.view, "shards": len(files), "bytes": size}


def _counts(store: ClipStore, attribute: str) -> dict[str, int]:
    """How many clips have each value of an attribute; "" is none."""
    values = store.manifest.attributes[attribute]
    counts = np.bincount(store.attribute(attribute) + 1, minlength=len(values) + 1).tolist()
    return {value: count for value, count in zip(("", *values), counts, strict=True) if count or value}


def show_damage(store: ClipStore, arguments: argparse.Namespace) -> int:
    """Print every damaged file with the clips in it."""
    damages = verify(store)
    if arguments.json:
        say(json.dumps([_to_data(store, damage) for damage in damages], indent=1, ensure_ascii=False))
    else:
        say(*(_to_line(store, damage) for damage in damages))
        state = f"{len(damages)} damaged" if damages else "all sound"
        say(f"{store.path}: {len(store.manifest.files)} files, {state}")
    return DAMAGED if damages else 0


def _to_data(store: ClipStore, damage: Damage) -> dict[str, Any]:
    clips = [{"clip": clip, "name": store.known_name(clip)} for clip in damage.clips]
    return {"file": damage.file, "what": damage.what, "clips": clips}


def _to_line(store: ClipStore, damage: Damage) -> str:
    line = f"{store.path / damage.file}: {damage.what}"
    if damage.clips:
        clips = [f"{clip} ({store.known_name(clip) or 'its name is damaged'})" for clip in damage.clips]
        line += f"; {len(damage.clips)} clips: {_some(clips)}"
    return line


def _some(names: list[str] | tuple[str, ...]) -> str:
    more = [f"and {len(names) - SHOWN_CLIPS} more"] if len(names) > SHOWN_CLIPS else []
    return ", ".join([*names[:SHOWN_CLIPS], *more])


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="tools/store.py",
        description=f"{__doc__} verify ends with exit code 1 when the store is damaged.",
        epilog="example: python tools/store.py info data/videos.zarr --picture sheet.png",
    )
    parser.add_argument("action", choices=["info", "verify"], help="say what the store holds, or check every checksum")
    parser.add_argument("store", metavar="STORE", type=named_path, help="the store")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--picture", metavar="FILE.png", type=Path, help="with info: draw some frames of some clips")
    return parser


if __name__ == "__main__":
    sys.exit(run(main, parser()))
