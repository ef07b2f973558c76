"""Where a run keeps what: ``spec.json``, ``data.json``, ``environment.json``, and a folder per stage."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from framework.artifact import versions
from framework.checkpoint import write_whole
from framework.experiment import Experiment, dump, load
from framework.spec_file import IMPORTS_NAME, SPEC_NAME, import_modules, module_folders
from registry import InputError
from registry.errors import join

DATA_NAME, ENVIRONMENT_NAME = "data.json", "environment.json"
_OWN = {SPEC_NAME, IMPORTS_NAME, DATA_NAME, ENVIRONMENT_NAME}


class RunFolder:
    """The folder of one run. Nothing is written before :meth:`begin`.

    Args:
        path: of the folder, which need not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def stage(self, name: str) -> Path:
        """All that belongs to one stage."""
        return self.path / name

    def artifact(self, name: str) -> Path:
        """The trained stage; there once it is done."""
        return self.stage(name) / "artifact"

    def checkpoints(self, name: str) -> Path:
        """The stage as it trains."""
        return self.stage(name) / "checkpoints"

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
        if not (self.path / SPEC_NAME).is_file():
            raise InputError.of(str(self.path), "holds no run", allowed="a work directory of tools/train.py")
        try:
            experiment = load((self.path / SPEC_NAME).read_text())
        except InputError as error:
            raise error.under(str(self.path / SPEC_NAME)) from None
        except UnicodeDecodeError:
            raise InputError.of(str(self.path / SPEC_NAME), "is not a text file") from None
        remembered = self.path / IMPORTS_NAME
        folders = _read(remembered).values() if remembered.is_file() else ()
        import_modules(experiment.imports, map(Path, folders))
        return experiment

    def refuse_others(self, experiment: Experiment, fingerprint: str) -> None:
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
        there = _read(self.path / SPEC_NAME)
        if changes := differences(there, json.loads(dump(experiment))):
            shown = "; ".join(changes[:3]) + (f"; and {len(changes) - 3} more" if len(changes) > 3 else "")
            raise InputError.of(
                str(self.path), f"holds a run of another spec ({shown})", "another --work-dir, or --restart"
            )
        data = self.path / DATA_NAME
        if data.is_file() and (known := _read(data).get("fingerprint")) != fingerprint:
            raise InputError.of(
                str(self.path),
                f"holds a run on other data (fingerprint {str(known)[:12]}, now {fingerprint[:12]})",
                "the data it began with, another --work-dir, or --restart",
            )

    def put_aside(self) -> Path | None:
        """Move an earlier run out of the way; returns where it is now, None if there was none."""
        if not (self.path / SPEC_NAME).is_file():
            return None
        number, path = 1, self.path if self.path.name.strip(".") else self.path.resolve()
        while (aside := path.with_name(f"{path.name}.old-{number}")).exists():
            number += 1
        path.rename(aside)
        return aside

    def begin(self, experiment: Experiment, fingerprint: str) -> None:
        """Create the folder, or enter it again, with the run's own description in it; the spec is written last."""
        self.path.mkdir(parents=True, exist_ok=True)
        if (self.path / SPEC_NAME).is_file():
            return
        self._write(DATA_NAME, {"component": str(experiment.data), "fingerprint": fingerprint})
        self._write(IMPORTS_NAME, module_folders(experiment))
        self._write(
            ENVIRONMENT_NAME,
            {
                "python": platform.python_version(),
                "platform": platform.platform(),
                "command": sys.argv,
                "versions": versions(),
            },
        )
        write_whole(self.path / SPEC_NAME, dump(experiment))

    def _write(self, name: str, content: Any) -> None:
        write_whole(self.path / name, json.dumps(content, indent=2) + "\n")


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


def _read(path: Path) -> dict[str, Any]:
    """A JSON object that describes the run.

    Raises:
        InputError: the file is none.
    """
    try:
        data = json.loads(path.read_text())
    except ValueError as error:
        raise InputError.of(str(path), f"is damaged ({error})") from None
    if not isinstance(data, dict):
        raise InputError.of(str(path), "is damaged (no JSON object)")
    return data


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _first_existing(path: Path) -> Path:
    return next(parent for parent in path.absolute().parents if parent.exists())


def _refuse_unwritable(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError.of(str(folder), "is not a folder", "a folder for the run")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError.of(str(folder), "cannot be written", "a --work-dir that can")
