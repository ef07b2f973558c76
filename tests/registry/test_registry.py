"""Registries: what can be registered, what is wrong with a component before it is built, and building it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import framework  # noqa: F401  # registers every component of the project
from registry import KINDS, Component, InputError, Positive, Registry, use
from registry.errors import Problem

PARTS = Registry("part")
MACHINES = Registry("machine", gives=("clip", "view"))


@PARTS.base
class Part:
    """What every part is."""


@PARTS.register
class Wheel(Part):
    """A part without parts."""

    def __init__(self, *, size: Positive, spokes: int = 8) -> None:
        if size > 100:
            raise InputError.of("size", f"{size} does not fit", allowed="at most 100")
        self.size, self.spokes = size, spokes


@PARTS.register
class Assembly(Part):
    """Parts, in every way that options can hold them."""

    def __init__(
        self,
        *,
        first: Part,
        spare: Part | None = None,
        others: tuple[Part, ...] = (),
        named: Mapping[str, Part] = {},
    ) -> None:
        self.first, self.spare, self.others, self.named = first, spare, others, named


@MACHINES.register
class Engine:
    """Is given a clip, and a view perhaps."""

    def __init__(self, clip, view=None, *, power: float = 1.0) -> None:
        self.clip, self.view, self.power = clip, view, power


@MACHINES.register
class Lever:
    """Is given nothing and has no options."""


def lines(component: Component, kind: Registry = PARTS, where: str = "top") -> list[str]:
    return [str(problem) for problem in kind.check(component, where)]


def test_names_and_classes():
    """A class is found under its own name, names are sorted, and options are its signature's."""
    assert PARTS.names() == ["Assembly", "Wheel"]
    assert PARTS.find("Wheel") is Wheel
    assert list(PARTS.options("Wheel")) == ["size", "spokes"]


def test_unknown_name():
    """A name that is none is an error with its place, what there is, and the nearest."""
    expected = "top: no part is called 'wheell'; allowed: Assembly, Wheel; did you mean 'Wheel'?"
    assert lines(use("wheell")) == [expected]
    for attempt in (PARTS.find, PARTS.options):
        with pytest.raises(InputError, match="no part is called 'wheell'"):
            attempt("wheell")
    with pytest.raises(InputError) as caught:
        PARTS.build(use("wheell"), "top")
    assert str(caught.value) == expected


def test_every_option_is_looked_at():
    """Unknown, mistyped and missing options are reported together."""
    assert lines(use("Wheel", sise=3, spokes=2.5)) == [
        "top.sise: 'sise' is not an option of Wheel; allowed: size, spokes; did you mean 'size'?",
        "top.spokes: 2.5 is not allowed; allowed: int",
        "top.size: is missing: Wheel needs it; allowed: int, at least 1",
    ]
    assert lines(use("Lever", size=3), MACHINES) == ["top.size: 'size' is not an option of Lever; allowed: none"]
    assert lines(use("Wheel", size=3)) == []


def test_given_parameters_are_no_options():
    """A spec cannot set what the builder gives."""
    assert lines(use("Engine", clip=3), MACHINES) == ["top.clip: 'clip' is not an option of Engine; allowed: power"]


def test_nested_components_are_checked():
    """Components inside options are checked wherever they stand, all of them, each under its own path."""
    component = use(
        "Assembly",
        first=use("Wheel", size=0),
        spare=use("Weel"),
        others=[use("Wheel", size=1), 3, use("Assembly", first=use("Wheel"))],
        named={"a": use("Wheel", size=1), "b": use("Wheel", size="big")},
    )
    assert lines(component) == [
        "top.first.size: 0 is not allowed; allowed: int, at least 1",
        "top.spare: no part is called 'Weel'; allowed: Assembly, Wheel; did you mean 'Wheel'?",
        'top.others[1]: 3 is not a component; allowed: use("NAME", option=value, ...)',
        "top.others[2].first.size: is missing: Wheel needs it; allowed: int, at least 1",
        "top.named.b.size: 'big' is not allowed; allowed: int, at least 1",
    ]
    assert lines(use("Assembly", first=use("Wheel", size=1), others=use("Wheel", size=2))) == [
        "top.others: Wheel(size=2) is not allowed; allowed: list of Part"
    ]


def test_building():
    """A component gets its options in their declared types, and of what is given what its signature names."""
    engine = MACHINES.build(use("Engine", power=2), clip="c", view="v", classes=3)
    assert (engine.clip, engine.view, engine.power) == ("c", "v", 2.0)
    assert isinstance(engine.power, float)
    assert MACHINES.build(use("Engine"), clip="c").view is None
    assert isinstance(MACHINES.build(use("Lever"), clip="c"), Lever)


def test_nested_components_are_built():
    """Components inside options arrive built, wherever they stand; None stays None."""
    built = PARTS.build(
        use(
            "Assembly",
            first=use("Wheel", size=1),
            others=[use("Wheel", size=2), use("Assembly", first=use("Wheel", size=3))],
            named={"a": use("Wheel", size=4)},
        )
    )
    assert built.first.size == 1
    assert built.spare is None
    assert [type(part) for part in built.others] == [Wheel, Assembly]
    assert built.others[1].first.size == 3
    assert built.named["a"].size == 4


@pytest.mark.parametrize(
    ("component", "where"),
    [
        (use("Wheel", size=101), "top.size"),
        (use("Assembly", first=use("Wheel", size=101)), "top.first.size"),
        (use("Assembly", first=use("Wheel", size=1), others=[use("Wheel", size=101)]), "top.others[0].size"),
        (use("Assembly", first=use("Wheel", size=1), named={"a": use("Wheel", size=101)}), "top.named.a.size"),
    ],
)
def test_refusal_of_a_constructor_has_its_path(component, where):
    """What a component refuses when it is built is reported under the path of that very component."""
    assert lines(component) == []
    with pytest.raises(InputError) as caught:
        PARTS.build(component, "top")
    assert caught.value.problems == (Problem(where, "101 does not fit", "at most 100"),)


def test_wrong_interface_is_refused():
    """A class that is no implementation of the kind's interface cannot be registered."""
    with pytest.raises(TypeError, match="part Stone must derive from Part"):
        PARTS.register(type("Stone", (), {}))


def test_parameter_that_nobody_gives_is_refused():
    """A parameter before the star that the builder does not know is taken for a forgotten star."""

    class Crane:
        def __init__(self, clip, reach: int) -> None:
            pass

    with pytest.raises(TypeError, match=r"machine Crane: parameter 'reach' is none .* \(clip, view\).* after a '\*'"):
        MACHINES.register(Crane)


def test_option_that_cannot_be_checked_is_refused():
    """An option without a type, or with one that no spec can hold, cannot be registered."""

    class Untyped(Part):
        def __init__(self, *, size=3) -> None:
            pass

    class Callback(Part):
        def __init__(self, *, call: type[int] | None = None) -> None:
            pass

    with pytest.raises(TypeError, match="option 'size' has no type"):
        PARTS.register(Untyped)
    with pytest.raises(TypeError, match=r"option 'call' is a type of int .*, which a spec cannot hold"):
        PARTS.register(Callback)
    assert PARTS.names() == ["Assembly", "Wheel"]


def test_two_classes_of_one_name_are_refused():
    """The second class of a name is an error that says where both stand; the first one stays."""

    def another():
        class Wheel(Part):
            def __init__(self, *, size: int) -> None:
                pass

        return Wheel

    with pytest.raises(InputError) as caught:
        PARTS.register(another())
    assert str(caught.value).startswith("Wheel: two parts are registered under this name: ")
    assert str(caught.value).count(f"{Path(__file__)}:") == 2
    assert PARTS.find("Wheel") is Wheel


def test_module_loaded_twice_registers_once(tmp_path, monkeypatch):
    """The same source under another module name replaces its class instead of clashing with itself."""
    kind = Registry("thing")
    source = tmp_path / "things.py"
    source.write_text("class Thing:\n    def __init__(self, *, x: int = 1): pass\n")
    for name in ("things_once", "things_twice"):
        spec = importlib.util.spec_from_file_location(name, source)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        kind.register(module.Thing)
    assert kind.names() == ["Thing"]
    assert kind.find("Thing") is module.Thing


@pytest.mark.parametrize("label", KINDS)
def test_everything_shipped_is_documented_and_typed(label):
    """Every component of the project has a documentation of its own, and every option a type in words."""
    kind = KINDS[label]
    assert kind.names()
    for name in kind.names():
        assert vars(kind.find(name)).get("__doc__"), name
        assert all(option.type_name for option in kind.options(name).values())
