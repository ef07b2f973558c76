"""From the SPEC on a command line (a Python spec or a saved ``spec.json``) to a checked experiment."""

from __future__ import annotations

import importlib
import json
import os
import runpy
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from framework.check import check
from framework.experiment import Experiment, plain
from framework.overrides import apply_overrides
from registry import InputError
from registry.convert import unstructure

SPEC_NAME = "spec.json"
IMPORTS_NAME = "imports.json"


def load_spec(path: str | Path, settings: Iterable[str] = ()) -> tuple[Experiment, list[str]]:
    """The experiment in the file ``path`` with ``settings`` (``KEY=VALUE``) applied, checked whole.

    Returns:
        The experiment, and notes on what the settings dropped.

    Raises:
        InputError: the file cannot be read, or anything in the spec is wrong; every problem at once.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError.of(str(path), "there is no such spec", allowed="a Python spec (.py) or a saved spec.json")
    if path.suffix not in (".py", ".json"):
        raise InputError.of(str(path), "is no spec", allowed="a Python spec (.py) or a saved spec.json")
    data = _from_python(path) if path.suffix == ".py" else _from_json(path)
    import_modules(data.get("imports", ()), [path.parent, *_remembered_folders(path)])
    notes = apply_overrides(data, settings)
    return check(data), notes


def import_modules(names: Any, folders: Iterable[Path]) -> None:
    """Import the user's modules, so that the components in them register.

    Raises:
        InputError: a module cannot be found, or fails while it is imported.
    """
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        return  # the check of the spec's types reports it
    looked_in = [Path.cwd(), *folders]
    with _on_path(looked_in):
        for name in names:
            try:
                importlib.import_module(name)
            except ModuleNotFoundError as error:
                if error.name != name:
                    raise InputError.of(
                        f"imports: {name}", f"needs a module that is not there: {error.name}"
                    ) from error
                folders_text = ", ".join(str(folder) for folder in dict.fromkeys(looked_in))
                raise InputError.of(
                    f"imports: {name}", f"there is no such module on Python's path nor in {folders_text}"
                ) from None
            except InputError as error:
                raise error.under(f"imports: {name}") from None


def module_folders(experiment: Experiment) -> dict[str, str]:
    """Where each module of ``experiment.imports`` was found; kept in a run so that it finds them again."""
    found = {}
    for name in experiment.imports:
        file = getattr(sys.modules[name], "__file__", None)
        if file:
            depth = name.count(".") + (Path(file).stem == "__init__")
            found[name] = str(Path(file).resolve().parents[depth])
    return found


def _remembered_folders(path: Path) -> list[Path]:
    remembered = path.with_name(IMPORTS_NAME)
    if not remembered.is_file():
        return []
    return [Path(folder) for folder in json.loads(remembered.read_text()).values()]


def _from_json(path: Path) -> dict[str, Any]:
    try:
        return plain(path.read_text())
    except InputError as error:
        raise error.under(str(path)) from None
    except UnicodeDecodeError:
        raise InputError.of(str(path), "is not a text file") from None


def _from_python(path: Path) -> dict[str, Any]:
    """Run a Python spec; specs may derive from others beside them: ``from kinetics_2stage import experiment``."""
    with _on_path([path.resolve().parent]):
        try:
            names = runpy.run_path(str(path))
        except InputError as error:
            raise error.under(str(path)) from error
        except (Exception, SystemExit) as error:
            line = _line_in(path, error)
            raise InputError.of(f"{path}{line}", f"{type(error).__name__}: {error}") from error
    experiment = names.get("experiment")
    if not isinstance(experiment, Experiment):
        raise InputError.of(str(path), "defines no experiment", allowed="experiment = Experiment(...)")
    data: dict[str, Any] = unstructure(experiment)
    return data


def _line_in(path: Path, error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.lineno:
        return f":{error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f":{lines[-1]}" if lines else ""


@contextmanager
def _on_path(folders: Iterable[Path]) -> Iterator[None]:
    """Python's module path with ``folders`` at its end."""
    before = list(sys.path)
    sys.path += [os.fspath(folder) for folder in folders]
    try:
        yield
    finally:
        sys.path[:] = before
