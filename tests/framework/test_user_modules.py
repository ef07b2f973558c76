"""Modules of the user's own, named in ``imports``: where they are looked for, and what is said when they fail."""

import itertools
import sys

import pytest

from framework import dump
from framework.spec_file import load_spec, module_folders
from registry import VIEWS, InputError

SPEC = """
from framework import Clip, Experiment, Stage, StageGraph, use

clip = Clip(2, 4, 4)
stage = Stage(
    "base",
    clip=clip,
    generator=use("DVDGenerator", channels=1, multipliers=[1], noise_dim=2, embedding_dim=2),
    discriminators={{"spatial": use("SpatialDiscriminator", channels=1, multipliers=[1])}},
    data_view=use({view!r}),
)
graph = StageGraph(clip=clip, stages=[stage])
experiment = Experiment(name="tiny", data=use("SyntheticClips"), graph=graph, imports={imports!r})
"""
MODULE = '''
from components.views import View
from registry import VIEWS


@VIEWS.register
class {view}(View):
    """Every frame as it is."""

    def __init__(self) -> None:
        super().__init__()

    def clip(self, clip):
        return clip

    def forward(self, video):
        return video
'''

numbers = itertools.count()


@pytest.fixture
def names(tmp_path, monkeypatch):
    """Names of a module and of the view in it that no other test has used; forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    number = next(numbers)
    module, view = f"user_module_{number}", f"UserView{number}"
    yield module, view
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        del sys.modules[name]
    VIEWS._classes.module_dict.pop(view, None)


def write_spec(folder, view, *imports):
    """A spec whose only stage is looked at through ``view``."""
    folder.mkdir(exist_ok=True)
    path = folder / "spec.py"
    path.write_text(SPEC.format(view=view, imports=imports))
    return path


def refused(path, *settings):
    with pytest.raises(InputError) as caught:
        load_spec(path, settings)
    return [str(problem) for problem in caught.value.problems]


def test_beside_the_spec(tmp_path, names):
    """A module in the spec's folder registers its components, and the spec can name them."""
    module, view = names
    path = write_spec(tmp_path / "specs", view, module)
    (tmp_path / "specs" / f"{module}.py").write_text(MODULE.format(view=view))
    experiment, _ = load_spec(path)
    assert experiment.graph["base"].data_view.type == view
    assert module_folders(experiment) == {module: str(tmp_path / "specs")}
    assert str(tmp_path / "specs") not in sys.path


def test_in_the_working_directory(tmp_path, names):
    """A module in the working directory is found as well."""
    module, view = names
    (tmp_path / f"{module}.py").write_text(MODULE.format(view=view))
    assert load_spec(write_spec(tmp_path / "specs", view, module))[0].imports == (module,)


def test_in_a_package(tmp_path, names):
    """A module of a package is named with dots; what is remembered is the folder of the package."""
    package, view = names
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / package / "views.py").write_text(MODULE.format(view=view))
    experiment, _ = load_spec(write_spec(tmp_path / "specs", view, f"{package}.views"))
    assert module_folders(experiment) == {f"{package}.views": str(tmp_path)}


def test_of_a_saved_spec(tmp_path, names):
    """A saved spec finds its modules in the folders that were noted beside it."""
    module, view = names
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / f"{module}.py").write_text(MODULE.format(view=view))
    path = write_spec(tmp_path / "mine", view, module)
    experiment, _ = load_spec(path)
    run = tmp_path / "run"
    run.mkdir()
    (run / "spec.json").write_text(dump(experiment))
    del sys.modules[module]
    assert refused(run / "spec.json") == [
        f"imports: {module}: there is no such module on Python's path nor in {tmp_path}, {run}"
    ]
    (run / "imports.json").write_text(f'{{"{module}": "{tmp_path / "mine"}"}}')
    assert load_spec(run / "spec.json")[0] == experiment


def test_named_in_a_setting(tmp_path, names):
    """``--set imports=...`` imports, too, before other settings are looked at."""
    module, view = names
    (tmp_path / f"{module}.py").write_text(MODULE.format(view=view))
    path = write_spec(tmp_path, "NearestView")
    settings = [f"stages.base.data_view={view}", f'imports=["{module}"]']
    experiment, notes = load_spec(path, settings)
    assert experiment.graph["base"].data_view.type == view
    assert notes == []
    assert module_folders(experiment) == {module: str(tmp_path)}


def test_not_imported(tmp_path, names):
    """Without its module a component is as unknown as any."""
    _, view = names
    [line] = refused(write_spec(tmp_path, view))
    assert line.startswith(f"graph.stages.base.data_view: no view is called {view!r}")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no such module on Python's path nor in {folder}, {folder}/specs"),
        ("import nowhere_at_all\n", "needs a module that is not there: nowhere_at_all"),
        ("x = 1\n1 / 0\n", "{folder}/{module}.py:2: ZeroDivisionError: division by zero"),
        ("x = 1\nx = (\n", "{folder}/{module}.py:2: SyntaxError: '(' was never closed"),
        ("raise SystemExit(3)\n", "{folder}/{module}.py:1: SystemExit: 3"),
        (
            "from registry import VIEWS\n\nclass Stone:\n    pass\n\nVIEWS.register(Stone)\n",
            "{folder}/{module}.py:6: TypeError: view Stone must derive from View",
        ),
    ],
)
def test_modules_that_fail(tmp_path, names, content, said):
    """What keeps a module from being imported is one line with the module, its file and line."""
    module, _ = names
    if content:
        (tmp_path / f"{module}.py").write_text(content)
    path = write_spec(tmp_path / "specs", "NearestView", module)
    assert refused(path) == [f"imports: {module}: {said.format(folder=tmp_path, module=module)}"]


def test_name_that_is_taken(tmp_path, names):
    """A component called like one of the project is refused, and the project's stays."""
    module, _ = names
    (tmp_path / f"{module}.py").write_text(MODULE.format(view="NearestView"))
    before = VIEWS.find("NearestView")
    [line] = refused(write_spec(tmp_path, "NearestView", module))
    assert "NearestView: two views are registered under this name: " in line
    assert f"{tmp_path}/{module}.py" in line
    assert VIEWS.find("NearestView") is before


@pytest.mark.parametrize("name", ["", ".relative", "no_package_of_that_name.module"])
def test_names_of_no_module(tmp_path, names, name):
    """Names that no module can have are one line, too."""
    [line] = refused(write_spec(tmp_path, "NearestView", name))
    assert line.startswith(f"imports: {name}: ")


def test_imports_of_a_wrong_type(tmp_path, names):
    """Imports that are no list of names are left to the check of types."""
    assert refused(write_spec(tmp_path, "NearestView"), "imports=3") == [
        "imports: 3 is not allowed; allowed: list of text"
    ]
