"""Where a store is to stand, what stands there already, and what lies beside it while it is made.

Whoever changes anything here holds the lock. Whenever a process is killed, :meth:`Place.settle` brings what it
left to a state from which the same call goes on.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from datasets.disk import keep_only, sync
from datasets.store import MANIFEST, QUARANTINE, Manifest, read_manifest
from registry import InputError


@attrs.frozen
class Ingested:
    """What became of an ingestion."""

    manifest: Manifest
    left_out: int
    """Videos that are in the store's quarantine list and not in the store."""
    fresh: bool
    """False when the store stood there already, with the same settings from the same videos."""


@attrs.frozen
class Place:
    """Where a store is to stand, and where it is made."""

    path: Path
    """Absolute, and no link."""

    @classmethod
    def of(cls, path: Path) -> Place:
        """The place that ``path`` names: what it links to, if it is a link, so that the link stays."""
        return cls(Path(os.path.realpath(path)) if path.is_symlink() else path.absolute())

    @property
    def partial(self) -> Path:
        """The unfinished store."""
        return self._beside("partial")

    @property
    def lock(self) -> Path:
        """The lock file of those who write it."""
        return self._beside("lock")

    @property
    def planning(self) -> Path:
        """The lock file of the share that plans."""
        return self._beside("plan.lock")

    @property
    def report(self) -> Path:
        """Where an ingestion that failed lists what it would have left out."""
        return self._beside(QUARANTINE)

    @property
    def replaced(self) -> Path:
        """The store that stood here before, until the new one does."""
        return self._beside("replaced")

    @property
    def doomed(self) -> Path:
        """What is being removed: under another name it is never taken for what it was."""
        return self._beside("removed")

    def _beside(self, ending: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{ending}")

    def standing(self, *, fresh: bool) -> Ingested:
        """The store that is there."""
        return Ingested(read_manifest(self.path), len(json.loads((self.path / QUARANTINE).read_bytes())), fresh)

    def tidy(self) -> bool:
        """Whether nobody is at work here, and no killed process left anything but an unfinished store."""
        return not any(path.exists() for path in (self.lock, self.replaced, self.doomed))

    def settle(self) -> None:
        """Bring to its end, or take back, what a killed process was about to do beside the store."""
        if self.doomed.exists():
            shutil.rmtree(self.doomed)
        if self.replaced.exists():
            if (self.path / MANIFEST).is_file():
                self.discard(self.replaced)
            else:
                self.replaced.rename(self.path)

    def discard(self, folder: Path) -> None:
        """Remove a folder so that at no moment a part of it stands where it stood."""
        folder.rename(self.doomed)
        shutil.rmtree(self.doomed)

    def stands(self, request: Mapping[str, Any], *, overwrite: bool) -> bool:
        """Whether the store asked for is here.

        Raises:
            InputError: another store is, and may not be overwritten, or something that is no store.
        """
        path = self.path
        if not path.exists() or (path.is_dir() and not any(path.iterdir())):
            return False
        if not (path / MANIFEST).is_file() and not (path / "zarr.json").is_file():
            raise InputError.of(str(path), "something that is no clip store stands here; name another place")
        try:
            held = read_manifest(path).request
        except InputError:
            if overwrite:
                return False
            raise
        found = differences(held, request)
        if found and not overwrite:
            what = f"another store stands here: {'; '.join(found)}; replace it with --overwrite, or remove it"
            raise InputError.of(str(path), what)
        return not found

    def finish(self, request: Mapping[str, Any], *, overwrite: bool) -> bool:
        """Put a store here whose making was ended between its manifest and its renaming.

        Raises:
            InputError: such a store waits that is another one, and may not be overwritten.
        """
        if not (self.partial / MANIFEST).is_file():
            return False
        if found := differences(read_manifest(self.partial).request, request):
            if not overwrite:
                what = f"a finished store of another kind waits here: {'; '.join(found)}"
                raise InputError.of(str(self.partial), f"{what}; finish it with its own command, or remove it")
            self.discard(self.partial)
            return False
        self.put()
        return True

    def put(self) -> None:
        """Put the unfinished store, which has its manifest, here; an older store goes once the new one stands."""
        keep_only(self.partial, {MANIFEST, *read_manifest(self.partial).files})
        self.report.unlink(missing_ok=True)
        if self.path.exists():
            self.path.rename(self.replaced)
        self.partial.rename(self.path)
        sync(self.path.parent)
        if self.replaced.exists():
            self.discard(self.replaced)


def check_apart(source: Path, path: Path) -> None:
    """Refuse a store inside the folder of its videos, where it would be looked for videos, or around it.

    Raises:
        InputError: on ``STORE``, when one lies in the other.
    """
    inside, outside = path.resolve(), source.resolve()
    if outside in inside.parents or inside in outside.parents:
        raise InputError.of("STORE", f"{path} and {source} lie one in the other", allowed="a place outside SOURCE")


def differences(held: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """What is ``asked`` otherwise than ``held`` was, for people."""
    found = [
        f"{name} {held.get(name)!r}, not {value!r}"
        for name, value in asked.items()
        if held.get(name) != value and name != "source"
    ]
    return [*found, "other videos"] if "source" in asked and held.get("source") != asked["source"] else found
