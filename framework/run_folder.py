"""Where a run keeps what: ``spec.json``, ``data.json``, ``environment.json``, and a folder per stage."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any, TextIO

import torch

from components import ranks
from framework.artifact import CHECKPOINTS, DATA_NAME, MANIFEST, spec_differences, versions
from framework.checkpoint import write_whole
from framework.classifier import ClassifierExperiment
from framework.experiment import Experiment, dump, load
from framework.plain_data import read_json, read_object
from framework.spec_file import IMPORTS_NAME, SPEC_NAME, import_modules, module_folders
from registry import InputError

ENVIRONMENT_NAME, LOCK_NAME = "environment.json", "run.lock"
_OWN = {SPEC_NAME, IMPORTS_NAME, DATA_NAME, ENVIRONMENT_NAME, LOCK_NAME}


class RunFolder:
    """The folder of one run. Nothing is written before :meth:`begin`.

    Args:
        path: of the folder, which need not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock: TextIO | None = None

    def stage(self, name: str) -> Path:
        """All that belongs to one stage."""
        return self.path / name

    def artifact(self, name: str) -> Path:
        """The trained stage; there once it is done."""
        return self.stage(name) / "artifact"

    def checkpoints(self, name: str) -> Path:
        """The stage as it trains."""
        return self.stage(name) / CHECKPOINTS

    def bank(self, name: str) -> Path:
        """The store of source videos that the stage trains on, where it does."""
        return self.stage(name) / "bank.zarr"

    def samples(self, name: str) -> Path:
        """Pictures made while the stage trains."""
        return self.stage(name) / "samples"

    def metrics(self, name: str) -> Path:
        """One JSON line per logged iteration."""
        return self.stage(name) / "metrics.jsonl"

    def mmengine(self, name: str) -> Path:
        """The work directory of the stage's MMEngine runner: its log, and what hooks of the user's own write."""
        return self.path / "mmengine" / name

    def tensorboard(self, name: str) -> Path:
        """The stage's TensorBoard events."""
        return self.path / "tensorboard" / name

    def artifacts(self, experiment: Experiment) -> dict[str, Path]:
        """Every stage's artifact folder, whether it is there or not."""
        return {name: self.artifact(name) for name in experiment.graph.names()}

    def experiment(self) -> Experiment:
        """The experiment that the run is of, the user's modules imported.

        Raises:
            InputError: the folder holds no run, or one whose modules are not to be found.
        """
        if not (self.path / SPEC_NAME).is_file() or (self.path / MANIFEST).is_file():  # an artifact has a spec, too
            raise InputError.of(str(self.path), "holds no run", allowed="a work directory of tools/train.py")
        try:
            experiment = load((self.path / SPEC_NAME).read_text())
        except InputError as error:
            raise error.under(str(self.path / SPEC_NAME)) from None
        except UnicodeDecodeError:
            raise InputError.of(str(self.path / SPEC_NAME), "is not a text file") from None
        remembered = self.path / IMPORTS_NAME
        folders = read_object(remembered).values() if remembered.is_file() else ()
        import_modules(experiment.imports, map(Path, folders))
        return experiment

    def refuse_others(self, experiment: Experiment | ClassifierExperiment, fingerprint: str) -> None:
        """Refuse to go on in a folder that holds anything but a run of this spec on this data.

        Raises:
            InputError: saying what differs. Nothing was written.
        """
        if not self.path.exists():
            _refuse_unwritable(_first_existing(self.path))
            return
        if not self.path.is_dir():
            raise InputError.of(str(self.path), "is not a folder", "a folder for the run")
        _refuse_unwritable(self.path)
        if not (self.path / SPEC_NAME).is_file():
            if all(entry.name.removesuffix(".partial") in _OWN for entry in self.path.iterdir()):
                return  # empty, or :meth:`begin` was cut short
            raise InputError.of(str(self.path), "is not empty and holds no run", "an empty or new --work-dir")
        there = read_object(self.path / SPEC_NAME)
        if changes := spec_differences(there, experiment, self.path / SPEC_NAME):  # type: ignore[arg-type]  # any spec
            shown = "; ".join(changes[:3]) + (f"; and {len(changes) - 3} more" if len(changes) > 3 else "")
            raise InputError.of(
                str(self.path), f"holds a run of another spec ({shown})", "another --work-dir, or --restart"
            )
        data = self.path / DATA_NAME
        if not data.is_file():
            raise InputError.of(
                str(data),
                "is missing: the run folder is damaged",
                "the file put back, another --work-dir, or --restart",
            )
        if (known := read_object(data).get("fingerprint")) != fingerprint:
            raise InputError.of(
                str(self.path),
                f"holds a run on other data (fingerprint {str(known)[:12]}, now {fingerprint[:12]})",
                "the data it began with, another --work-dir, or --restart",
            )

    def put_aside(self) -> Path | None:
        """Move an earlier run out of the way; returns where it is now, None if there was none.

        Raises:
            InputError: another process trains in it.
        """
        if not (self.path / SPEC_NAME).is_file():
            return None
        self._claim()
        number, path = 1, self.path if self.path.name.strip(".") else self.path.resolve()
        while (aside := path.with_name(f"{path.name}.old-{number}")).exists():
            number += 1
        path.rename(aside)
        self.release()  # the lock went with the folder
        return aside

    def begin(self, experiment: Experiment | ClassifierExperiment, fingerprint: str) -> None:
        """Create the folder, or enter it again, with the run's own description in it; the spec is written last.

        No other process can begin in it until :meth:`release`, or until this process ends.

        Raises:
            InputError: another process trains in it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._claim()
        begun = (self.path / SPEC_NAME).is_file()
        if not begun:
            self._write(DATA_NAME, {"component": str(experiment.data), "fingerprint": fingerprint})
            self._write(IMPORTS_NAME, module_folders(experiment))
        self._write(ENVIRONMENT_NAME, [*self._environments(), _environment()])
        if not begun:
            write_whole(self.path / SPEC_NAME, dump(experiment))

    def release(self) -> None:
        """Let other processes train in the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _claim(self) -> None:
        if self._lock is not None:
            return
        lock = (self.path / LOCK_NAME).open("a")
        try:
            # Not flock: loader processes would inherit that, and hold it after a run that was killed.
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # it depends on the system which
            lock.close()
            raise InputError.of(str(self.path), "another process trains in it", "another --work-dir") from None
        self._lock = lock

    def _environments(self) -> list[Any]:
        """A record for each earlier start."""
        path = self.path / ENVIRONMENT_NAME
        if not path.is_file():
            return []
        try:
            known = read_json(path)
        except InputError as error:
            what = error.problems[0].what
        else:
            if isinstance(known, list):
                return known
            what = "is damaged (no JSON list)"
        raise InputError.of(str(path), what, "a list of records, or no such file")

    def _write(self, name: str, content: Any) -> None:
        write_whole(self.path / name, json.dumps(content, indent=2) + "\n")


def _environment() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "command": sys.argv,
        "device": _device(),
        "processes": ranks.world(),
        "versions": versions(),
    }


def _device() -> str:
    """What this process computes on, as far as the system tells."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU ({platform.machine()}), {torch.get_num_threads()} threads"


def _first_existing(path: Path) -> Path:
    return next(parent for parent in path.absolute().parents if parent.exists())


def _refuse_unwritable(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError.of(str(folder), "is not a folder", "a folder for the run")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError.of(str(folder), "cannot be written", "a --work-dir that can")
