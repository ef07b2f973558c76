"""Look into a clip store, or check every byte of it."""

from __future__ import annotations

import _path  # noqa: F401  # before any other import: see there

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from datasets import ClipStore, DamagedStoreError
from datasets.picture import contact_sheet, save_png
from datasets.verify import Damage, verify
from registry.cli import complain, run, say

DAMAGED = 1
SHOWN_CLIPS = 10


def main(arguments: argparse.Namespace) -> int:
    """Inform or verify."""
    if arguments.action == "info":
        return show_info(ClipStore(path=str(arguments.store)), arguments)
    try:
        store = ClipStore(path=str(arguments.store))
    except DamagedStoreError as error:
        complain(str(error))  # without manifest and index there is nothing to hold the rest against
        return DAMAGED
    return show_damage(store, arguments)


def show_info(store: ClipStore, arguments: argparse.Namespace) -> int:
    """Print what the store holds; with ``--picture`` draw it."""
    facts = describe(store)
    if arguments.json:
        say(json.dumps(facts, indent=1, ensure_ascii=False))
    else:
        classes = facts.pop("classes")
        facts["classes"] = "none" if classes is None else f"{len(classes)} ({_some(classes)})"
        say(*(f"{name:12} {value}" for name, value in facts.items()))
    if arguments.picture:
        save_png(arguments.picture, contact_sheet(store))
    return 0


def describe(store: ClipStore) -> dict[str, Any]:
    """The facts about a store, as plain data."""
    lengths = store.lengths()
    return {
        "store": str(store.path),
        "clips": len(store),
        "frames": int(lengths.sum()),
        "shortest": int(lengths.min()),
        "longest": int(lengths.max()),
        "height": store.height,
        "width": store.width,
        "channels": store.channels,
        "stride": store.stride,
        "codec": store.settings.codec,
        "shards": store.manifest.shards(),
        "bytes": sum(path.stat().st_size for path in store.path.rglob("*") if path.is_file()),
        "classes": store.classes,
        "fingerprint": store.fingerprint,
    }


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
    clips = [{"clip": clip, "name": store.name(clip)} for clip in damage.clips]
    return {"file": damage.file, "what": damage.what, "clips": clips}


def _to_line(store: ClipStore, damage: Damage) -> str:
    line = f"{store.path / damage.file}: {damage.what}"
    if damage.clips:
        line += f"; {len(damage.clips)} clips: {_some([f'{clip} ({store.name(clip)})' for clip in damage.clips])}"
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
    parser.add_argument("store", metavar="STORE", type=Path, help="the store")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--picture", metavar="FILE.png", type=Path, help="with info: draw some frames of some clips")
    return parser


if __name__ == "__main__":
    sys.exit(run(main, parser()))
