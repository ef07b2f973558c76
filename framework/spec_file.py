"""From the SPEC on a command line (a Python spec or a saved ``spec.json``) to a checked experiment."""

from __future__ import annotations

import importlib
import json
import os
import re
import runpy
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from components.clip import Clip
from framework.check import check
from framework.check.classifier import check_classifier
from framework.classifier import KIND, ClassifierExperiment, ClassifierTraining
from framework.experiment import Experiment, Training, plain
from framework.graph import Stage, StageGraph
from framework.overrides import apply_overrides
from registry import InputError, Problem
from registry.convert import unstructure
from registry.errors import nearest

SPEC_NAME = "spec.json"
IMPORTS_NAME = "imports.json"
_CLASSES = (Clip, ClassifierExperiment, ClassifierTraining, Experiment, Stage, StageGraph, Training)
"""That a spec is written with."""


def load_spec(path: str | Path, settings: Iterable[str] = ()) -> tuple[Experiment, list[str]]:
    """The experiment in the file ``path`` with ``settings`` (``KEY=VALUE``) applied, checked whole.

    Returns:
        The experiment, and notes on what the settings dropped.

    Raises:
        InputError: the file cannot be read, or anything in the spec is wrong, every problem at once; or it is the spec
            of a classifier.
    """
    experiment, notes = load_any_spec(path, settings)
    if isinstance(experiment, ClassifierExperiment):
        raise InputError.of(str(path), "is the spec of a classifier, not of a cascade", "one with a graph of stages")
    return experiment, notes


def load_any_spec(
    path: str | Path, settings: Iterable[str] = ()
) -> tuple[Experiment | ClassifierExperiment, list[str]]:
    """The same, of a cascade or of a classifier."""
    path = Path(path)
    if not path.is_file():
        beside = {each.stem: str(each) for each in path.parent.glob("*.*") if each.suffix in (".py", ".json")}
        alike = beside.get(nearest(path.stem, beside) or "")
        allowed = "a Python spec (.py) or a saved spec.json"
        raise InputError(Problem(str(path), "there is no such spec", allowed, alike))
    if path.suffix not in (".py", ".json"):
        raise InputError.of(str(path), "is no spec", allowed="a Python spec (.py) or a saved spec.json")
    data = _from_python(path) if path.suffix == ".py" else _from_json(path)
    settings = list(settings)
    # Imports first, since the other settings may name what they register.
    apply_overrides(data, [setting for setting in settings if re.match(r"\s*imports\b", setting)])
    import_modules(data.get("imports", ()), [path.parent, *_remembered_folders(path)])
    notes = apply_overrides(data, settings)
    return check_classifier(data) if data.get("kind") == KIND else check(data), notes


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
            _import(name, looked_in)


def _import(name: str, looked_in: list[Path]) -> None:
    where = f"imports: {name}"
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):
            raise InputError.of(where, f"needs a module that is not there: {error.name}") from error
        there = ", ".join(dict.fromkeys(str(folder.resolve()) for folder in looked_in))
        raise InputError.of(where, f"there is no such module on Python's path nor in {there}") from None
    except (Exception, SystemExit) as error:
        package = name.partition(".")[0]
        raise _failure(where, error, lambda names: names.get("__name__", "").partition(".")[0] == package) from error


def module_folders(experiment: Experiment | ClassifierExperiment) -> dict[str, str]:
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
    folder = path.resolve().parent
    with _on_path([folder]), _forgotten_after(folder):
        try:
            names = runpy.run_path(str(path))
        except (Exception, SystemExit) as error:
            raise _failure(str(path), error, lambda names: _lies_in(folder, names)) from error
    experiment = names.get("experiment")
    if not isinstance(experiment, (Experiment, ClassifierExperiment)):
        allowed = "experiment = Experiment(...) or ClassifierExperiment(...)"
        raise InputError.of(str(path), "defines no experiment", allowed)
    data: dict[str, Any] = unstructure(experiment)
    return data


def _failure(where: str, error: BaseException, written_by_user: Callable[[Mapping[str, Any]], bool]) -> InputError:
    """What the user's own code raised, with the innermost line of it, told by its module's names."""
    lines = [
        f"{frame.f_code.co_filename}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if written_by_user(frame.f_globals)
    ]
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_file():
        lines, said = [f"{error.filename}:{error.lineno}"], f"{type(error).__name__}: {error.msg}"
    place = lines[-1] if lines else where
    if (misspelt := _misspelt_field(error)) is not None:
        return InputError(attrs.evolve(misspelt, where=place))
    clauses = [str(problem) for problem in error.problems] if isinstance(error, InputError) else [said]
    if place.startswith(where):
        return InputError(Problem(place, clause) for clause in clauses)
    return InputError(Problem(where, f"{place}: {clause}") for clause in clauses)


def _misspelt_field(error: BaseException) -> Problem | None:
    """What was meant, when a class of the spec was given a field that it does not have."""
    found = re.search(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
    classes = {cls.__name__: cls for cls in _CLASSES}
    if found is None or found[1] not in classes:
        return None
    names = [field.name for field in attrs.fields(classes[found[1]])]
    return Problem("", f"{found[2]!r} is not a field of {found[1]}", ", ".join(names), nearest(found[2], names))


def _lies_in(folder: Path, names: Mapping[str, Any]) -> bool:
    """Whether the names are those of a module that stands in ``folder`` itself."""
    file = names.get("__file__")
    return file is not None and Path(file).resolve().parent == folder


@contextmanager
def _forgotten_after(folder: Path) -> Iterator[None]:
    """Forget what is imported from ``folder`` meanwhile, so that a spec elsewhere finds its own neighbours."""
    before = set(sys.modules)
    try:
        yield
    finally:
        for name in set(sys.modules) - before:
            if _lies_in(folder, vars(sys.modules[name])):
                del sys.modules[name]


@contextmanager
def _on_path(folders: Iterable[Path]) -> Iterator[None]:
    """Python's module path with ``folders`` at its end."""
    before = list(sys.path)
    sys.path += [os.fspath(folder) for folder in folders]
    try:
        yield
    finally:
        sys.path[:] = before
