"""List what a spec can name: components by kind, their options with types and defaults."""

from __future__ import annotations

import _path  # noqa: F401  # before any other import: see there

import argparse
import inspect
import json
import sys
from pathlib import Path
from typing import Any

import framework  # noqa: F401  # registers every component of the project
from framework.spec_file import import_modules
from registry import KINDS, InputError, Registry
from registry.cli import run, say
from registry.convert import unstructure


def main(arguments: argparse.Namespace) -> int:
    """List."""
    import_modules(arguments.imports, [Path.cwd()])
    if arguments.kind is not None and arguments.kind not in KINDS:
        raise InputError.unknown("KIND", "kind", arguments.kind, KINDS)
    kinds = {name: kind for name, kind in KINDS.items() if arguments.kind in (None, name)}
    listing = {label: [_facts(kind, name) for name in _names(kind, arguments.name)] for label, kind in kinds.items()}
    if arguments.json:
        say(json.dumps(listing, indent=2))
        return 0
    for label, components in listing.items():
        say(f"{label}:")
        for facts in components:
            say(*_lines(facts, whole=arguments.name is not None))
        say("")
    return 0


def _names(kind: Registry, name: str | None) -> list[str]:
    if name is None:
        return kind.names()
    kind.find(name, "NAME")
    return [name]


def _facts(kind: Registry, name: str) -> dict[str, Any]:
    cls = kind.find(name)
    doc = inspect.getdoc(cls) or ""
    return {
        "name": name,
        "summary": doc.partition("\n")[0],
        "doc": doc,
        "defined": f"{cls.__module__}.{cls.__qualname__}",
        "options": [
            {
                "name": option.name,
                "type": option.type_name,
                "required": option.required,
                "default": None if option.required else unstructure(option.default),
            }
            for option in kind.options(name).values()
        ],
    }


def _lines(facts: dict[str, Any], *, whole: bool) -> list[str]:
    """A component as text: its first line of documentation, or with ``whole`` all of it."""
    doc = facts["doc"].splitlines() if whole else [facts["summary"]]
    lines = [f"  {facts['name']}", *(f"    {line}".rstrip() for line in doc)]
    if whole:
        lines += ["", f"    defined in {facts['defined']}"]
    width = max((len(option["name"]) for option in facts["options"]), default=0)
    for option in facts["options"]:
        default = "required" if option["required"] else f"default {_show(option['default'])}"
        lines.append(f"      {option['name']:<{width}}  {option['type']}; {default}")
    return lines


def _show(value: Any) -> str:
    return repr(value) if isinstance(value, str) else json.dumps(value)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="tools/components.py",
        description=__doc__,
        epilog="examples: python tools/components.py views; python tools/components.py generators DVDGenerator",
    )
    parser.add_argument("kind", metavar="KIND", nargs="?", help=f"one of {', '.join(KINDS)} (default: all)")
    parser.add_argument("name", metavar="NAME", nargs="?", help="one component, with its whole documentation")
    parser.add_argument(
        "--imports", action="append", default=[], metavar="MODULE", help="a module of your own to register first"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


if __name__ == "__main__":
    sys.exit(run(main, parser()))
