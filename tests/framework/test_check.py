"""The check of a whole spec: every mistake is one line at its own place, and a sound spec has none."""

import attrs
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from small_specs import DISCRIMINATOR, GENERATOR, base_stage, data_of, problems_of, small, upsampling_stage

from components.clip import FieldOfView
from components.discriminators import Discriminator
from components.generators import Generator
from components.views import NearestView
from framework import Clip, use
from framework.check import check
from registry import DISCRIMINATORS, GENERATORS, VIEWS, InputError

# The components of the project take a second to check. What is wrong with names and edges has nothing to do with
# them, so these stand in where a test is about the graph alone.


class ToyGenerator(Generator):
    """Black videos, or what an option says instead."""

    noise_dim = 1
    field_of_view = FieldOfView()

    def __init__(self, clip, *, gives: str = "video") -> None:
        super().__init__()
        self.clip, self.gives = clip, gives

    def forward(self, z, y=None, x_l=None, span=None):
        if span is not None and span.frames != self.clip.frames and self.gives == "a window or an error":
            raise RuntimeError("first line\nsecond line")
        window = span is None or self.gives == "a window"
        video = z.new_zeros(attrs.evolve(self.clip, frames=self.clip.frames if window else span.frames).shape(len(z)))
        return {
            "a window": video,
            "a window or an error": video,
            "video": video,
            "half": video[:, ::2],
            "flat": video.flatten(1),
            "nothing": None,
        }[self.gives]


class ToyUpsampler(ToyGenerator):
    """The same, with a source."""

    def __init__(self, clip, view, *, gives: str = "video", takes: str = "all it needs") -> None:
        super().__init__(clip, gives=gives)
        self.view, self.takes = view, takes

    def source_span(self, span):
        return None if self.takes == "nothing" else span.shrunk(self.view.time)

    def forward(self, z, y=None, x_l=None, span=None):
        if span is not None:
            assert x_l is not None and x_l.shape[1] == self.source_span(span).frames, "wrong x_l"
        return super().forward(z, y, x_l, span)


class FussyGenerator(ToyGenerator):
    """Refuses what it is given, as an option says."""

    def __init__(self, clip, view=None, classes=None, *, refuses: str) -> None:
        raise InputError.of(refuses, "is refused")


class ToyDiscriminator(Discriminator):
    """A score per frame, or what an option says instead."""

    def __init__(self, clip, *, gives: str = "scores") -> None:
        super().__init__()
        self.gives = gives

    def forward(self, x, y=None, x_l=None):
        return {"scores": x.mean((2, 3, 4)), "video": x, "scalar": x.mean(), "nothing": None}[self.gives]


class FussyDiscriminator(ToyDiscriminator):
    """The same."""

    def __init__(self, clip, view=None, classes=None, *, refuses: str) -> None:
        raise InputError.of(refuses, "is refused")


class ClumsyView(NearestView):
    """A view that fails, or does other than it declares."""

    def __init__(self, *, time: int = 1, space: int = 1, fails: str = "") -> None:
        super().__init__(time=time, space=space)
        if fails == "construction":
            raise ZeroDivisionError
        self.fails = fails

    def clip(self, clip):
        return {}["clip"] if self.fails == "clip" else super().clip(clip)

    def scale(self, video):
        if self.fails == "forward":
            raise RuntimeError("first line\nsecond line")
        return video if self.fails == "size" else super().scale(video)


class MixingView(NearestView):
    """A view of each frame and the one that many frames before it; minus means after."""

    def __init__(self, *, time: int = 1, space: int = 1, before: int) -> None:
        super().__init__(time=time, space=space)
        self.before = before

    def scale(self, video):
        others = range(video.shape[1])
        others = [min(max(frame - self.before, 0), others[-1]) for frame in others]
        return super().scale((video + video[:, others]) / 2)


@pytest.fixture(autouse=True, scope="module")
def toys():
    """The classes above can be named in specs as long as this file's tests last."""
    with pytest.MonkeyPatch.context() as patch:
        for kind, cls in [
            (GENERATORS, ToyGenerator),
            (GENERATORS, ToyUpsampler),
            (DISCRIMINATORS, ToyDiscriminator),
            (VIEWS, ClumsyView),
            (VIEWS, MixingView),
        ]:
            patch.setitem(kind._classes.module_dict, cls.__name__, cls)
        yield


@pytest.fixture
def fussy(monkeypatch):
    """Components that refuse can be named in specs; not always, since errors list the names there are."""
    for kind, cls in [(GENERATORS, FussyGenerator), (DISCRIMINATORS, FussyDiscriminator)]:
        monkeypatch.setitem(kind._classes.module_dict, cls.__name__, cls)


def toy_base(**changes):
    fields = {"generator": use("ToyGenerator"), "discriminators": {"spatial": use("ToyDiscriminator")}}
    return base_stage(**fields | changes)


def toy_stage(name="full", source="base", **changes):
    fields = {"generator": use("ToyUpsampler"), "discriminators": {"spatial": use("ToyDiscriminator")}}
    return upsampling_stage(name, source, **fields | changes)


def toy(*stages, **changes):
    return small(*(stages or [toy_base(), toy_stage()]), **changes)


def chain():
    """Three stages: 4x4/4, 8x8/8, 16x16/16."""
    top = toy_stage("full", "mid", clip=Clip(16, 16, 16), window=8)
    return toy(
        toy_base(clip=Clip(4, 4, 4, stride=4)), toy_stage("mid", clip=Clip(8, 8, 8, stride=2)), top, clip=top.clip
    )


AREA = use("AreaView", time=2, space=2)
NEAREST = use("NearestView", time=2, space=2)
NEAREST_IN_STEPS = use("Compose", views=[use("NearestView", time=2), use("NearestView", space=2)])


@pytest.mark.parametrize(
    "spec",
    [
        small(),
        small(classes=None),
        small(base_stage(), clip=Clip(4, 4, 4, stride=2)),
        chain(),
        toy(toy_base(), toy_stage(window=None)),
        toy(toy_base(), toy_stage(window=2)),
        toy(toy_base(), toy_stage(window=8)),
        toy(toy_stage(), toy_base()),
        toy(toy_base(), toy_stage("a"), toy_stage("b")),
        toy(toy_base(), toy_stage("a"), toy_stage("b", view=NEAREST_IN_STEPS)),
        toy(toy_base(data_view=NEAREST_IN_STEPS), toy_stage("a"), toy_stage("b")),
        toy(toy_base(), toy_stage(view=use("MixingView", time=2, space=2, before=1), window=None)),
        toy(toy_base(), toy_stage(data_view=use("NearestView", space=2)), clip=Clip(8, 16, 16)),
        toy(toy_base(discriminators={}), toy_stage(joint=True)),
        toy(toy_base(training={"iterations": 3}), toy_stage()),
    ],
    ids=[
        "two stages", "unconditional", "one stage", "three stages", "no window", "smallest window", "whole window",
        "declared upside down", "branches", "branches by other ways to the same", "branches below a view of the data",
        "view across frames without a window",
        "view of the data", "joint", "training of its own",
    ],
)  # fmt: skip
def test_sound_specs(spec):
    """Nothing is wrong with these, and what comes back is the spec, typed."""
    assert check(data_of(spec)) == spec


@pytest.mark.parametrize(
    "view",
    [
        use("AntialiasedView", time=2, space=2),
        use("AntialiasedView", time=2, space=2, interpolation="bicubic"),
        AREA,
        use("Compose", views=[use("WindowView", frames=8), NEAREST]),
    ],
    ids=str,
)
def test_every_shipped_view_can_be_an_edge(view):
    """Also where a discriminator applies it to what it scores."""
    discriminators = {"matching": use("MatchingDiscriminator", **DISCRIMINATOR)}
    check(toy(toy_base(), toy_stage(view=view, window=None, discriminators=discriminators)))


def test_every_shipped_discriminator_passes():
    """In an upsampling stage each of them, made small, scores what it is given."""
    small_ones = {name: DISCRIMINATOR for name in DISCRIMINATORS.names() if name.startswith(("Sp", "Te", "Ma"))}
    options = small_ones | {"TimmDiscriminator": {"backbone": "test_resnet.r160_in1k"}, "ToyDiscriminator": {}}
    discriminators = {name: use(name, **options[name]) for name in DISCRIMINATORS.names()}
    check(toy(toy_base(), toy_stage(discriminators=discriminators)))


def test_sound_specs_come_back_typed():
    """A whole number given for a number, or a list for a tuple, is of the declared type afterwards."""
    checked = check(toy(training=attrs.evolve(toy().training, generator_lr=1)))
    assert isinstance(checked.training.generator_lr, float)


# One mistake each, in a chain of three stages: what to change, and the line that follows from it.
MISTAKES = {
    "seed of a wrong type": ({"seed": 3.7}, "seed: 3.7 is not allowed; allowed: int, at least 0"),
    "name": (
        {"name": "a/b"},
        "name: 'a/b' cannot name a folder; allowed: letters, digits, '_' and '-', a letter first",
    ),
    "unknown field": (
        {"sede": 1},
        "sede: 'sede' is not a field of Experiment; allowed: name, data, graph, training, seed, imports; "
        "did you mean 'seed'?",
    ),
    "unknown dataset": (
        {"data.type": "ClipStor"},
        "data: no dataset is called 'ClipStor'; allowed: ClipStore, SyntheticClips; did you mean 'ClipStore'?",
    ),
    "training": (
        {"training.batch_size": True},
        "training.batch_size: True is not allowed; allowed: int, at least 1",
    ),
    "betas that Adam refuses": (
        {"training.betas": [0.0, 1.0]},
        "training.betas[1]: 1.0 is not allowed; allowed: number, at least 0 and less than 1",
    ),
    "imports": ({"imports": "mine"}, "imports: 'mine' is not allowed; allowed: list of text"),
    "classes": ({"graph.classes": 0}, "graph.classes: 0 is not allowed; allowed: int, at least 1 | null"),
    "clip of the data": ({"graph.clip.width": "8"}, "graph.clip.width: '8' is not allowed; allowed: int, at least 1"),
    "no clip": ({"graph.stages.0.clip": None}, "graph.stages.base.clip: None is not a Clip"),
    "unknown generator": (
        {"graph.stages.0.generator.type": "ToyGenerato"},
        "graph.stages.base.generator: no generator is called 'ToyGenerato'; "
        "allowed: DVDGenerator, ToyGenerator, ToyUpsampler, UpsamplingGenerator; did you mean 'ToyGenerator'?",
    ),
    "unknown option": (
        {"graph.stages.0.discriminators.spatial.options.givse": "x"},
        "graph.stages.base.discriminators.spatial.givse: 'givse' is not an option of ToyDiscriminator; "
        "allowed: gives; did you mean 'gives'?",
    ),
    "option of a wrong type": (
        {"graph.stages.0.loss.options.sum_frames": 1},
        "graph.stages.base.loss.sum_frames: 1 is not allowed; allowed: true | false",
    ),
    "view on a base": (
        {"graph.stages.0.view": {"type": "NearestView", "options": {}}},
        "graph.stages.base.view: a stage without a source has no view; allowed: null, or a source",
    ),
    "view that does not divide": (
        {"graph.stages.1.view.options.time": 3},
        "graph.stages.mid.view.time: 3 does not divide 8 frames; allowed: a divisor of 8",
    ),
    "no discriminators": (
        {"graph.stages.2.discriminators": {}},
        "graph.stages.full.discriminators: a stage that trains on its own needs one; allowed: "
        "MatchingDiscriminator, SpatialDiscriminator, TemporalDiscriminator, TimmDiscriminator, ToyDiscriminator",
    ),
    "window longer than the clip": (
        {"graph.stages.1.window": 10},
        "graph.stages.mid.window: 10 frames do not fit the stage's 8x8/8 @2; allowed: 1 to 8",
    ),
    "unknown loss": (
        {"graph.stages.1.loss.type": "Hinge"},
        "graph.stages.mid.loss: no loss is called 'Hinge'; allowed: GeometricHinge, NonSaturating; "
        "did you mean 'GeometricHinge'?",
    ),
    "view that leads elsewhere": (
        {"graph.stages.2.view.options.space": 4},
        "graph.stages.full.view: makes 4x4/8 @2 of the stage's 16x16/16 @1, but source 'mid' is 8x8/8 @2; "
        "allowed: 8x8/8 @2",
    ),
    "window of no whole frames": (
        {"graph.stages.2.window": 3},
        "graph.stages.full.window: 3 frames are no whole number of source frames; allowed: a multiple of 2",
    ),
    "joint of a wrong type": (
        {"graph.stages.1.joint": 1},
        "graph.stages.mid.joint: 1 is not allowed; allowed: true | false",
    ),
    "field of the stage's training": (
        {"graph.stages.2.training": {"iterations": 0}},
        "graph.stages.full.training.iterations: 0 is not allowed; allowed: int, at least 1",
    ),
    "name of a discriminator": (
        {"graph.stages.1.discriminators.a-b": {"type": "ToyDiscriminator", "options": {}}},
        "graph.stages.mid.discriminators.a-b: 'a-b' cannot name a discriminator; "
        "allowed: a Python identifier that torch's modules do not use",
    ),
    "name of a discriminator that torch takes for its own": (
        {"graph.stages.1.discriminators.half": {"type": "ToyDiscriminator", "options": {}}},
        "graph.stages.mid.discriminators.half: 'half' cannot name a discriminator; "
        "allowed: a Python identifier that torch's modules do not use",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_one_mistake_is_one_line(mistake):
    """Each mistake by itself is one line, with no other that only follows from it."""
    changes, line = MISTAKES[mistake]
    assert problems_of(data_of(chain(), changes)) == [line]


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.sets(st.sampled_from(sorted(MISTAKES)), min_size=2))
def test_any_mistakes_are_a_line_each(chosen):
    """Any of them together are reported together, each exactly once and in the same words."""
    # What a whole frame of the source is, is not known where the view is wrong.
    assume(not {"view that leads elsewhere", "window of no whole frames"} <= chosen)
    changes = {path: value for mistake in chosen for path, value in MISTAKES[mistake][0].items()}
    assert sorted(problems_of(data_of(chain(), changes))) == sorted(MISTAKES[mistake][1] for mistake in chosen)


def test_a_stage_cannot_be_named_like_a_folder_that_every_run_has():
    """Its folder would be that of another thing."""
    line = "graph.stages.tensorboard.name: a run has a folder 'tensorboard' of its own; allowed: another name"
    assert problems_of(data_of(chain(), {"graph.stages.2.name": "tensorboard"})) == [line]


def test_missing_fields():
    """What is not there at all is said of each, and nothing is concluded from its absence."""
    data = data_of(chain())
    del data["data"], data["graph"]["clip"], data["graph"]["stages"][0]["generator"]
    del data["graph"]["stages"][1]["clip"]["height"], data["graph"]["stages"][2]["name"]
    assert problems_of(data) == [
        "data: is missing",
        "graph.clip: is missing",
        "graph.stages.base.generator: is missing",
        "graph.stages.mid.clip.height: is missing",
        "graph.stages[2].name: is missing",
    ]


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({"graph": None}, ["graph: None is not a StageGraph"]),
        ({"graph.stages": None}, ["graph.stages: None is not allowed; allowed: list of Stage"]),
        ({"graph.stages": []}, ["graph.stages: there is no stage; allowed: at least one"]),
        (
            {"graph.stages.1": None, "seed": -1},
            ["graph.stages[1]: None is not a Stage", "seed: -1 is not allowed; allowed: int, at least 0"],
        ),
    ],
)
def test_too_little_of_a_spec(changes, lines):
    """Where there is no graph to look at, that is what is said."""
    assert sorted(problems_of(data_of(toy(), changes))) == lines


class TestNames:
    """Stages are told apart by name."""

    @pytest.mark.parametrize("name", ["a b", "a/b", "1st", "..", "a.b", ""])
    def test_what_cannot_name_a_folder(self, name):
        """Such a name is one problem."""
        [line] = problems_of(data_of(toy(), {"graph.stages.1.name": name}))
        assert line.endswith(
            f"name: {name!r} cannot name a folder; allowed: letters, digits, '_' and '-', a letter first"
        )

    def test_a_bad_name_hides_nothing(self):
        """The stage's other mistakes are reported beside its name."""
        changes = {"graph.stages.1.name": "a b", "graph.stages.1.window": 3, "graph.stages.1.joint": 2}
        assert [line.partition(":")[0] for line in problems_of(data_of(toy(), changes))] == [
            "graph.stages.a b.joint",
            "graph.stages.a b.name",
            "graph.stages.a b.window",
        ]

    def test_names_with_hyphens(self):
        """A stage whose name is no identifier is called by it all the same, whatever is wrong with it."""
        changes = {"graph.stages.1.name": "up-2", "graph.stages.1.window": "x", "graph.stages.1.view.options.time": 3}
        assert problems_of(data_of(toy(), changes)) == [
            "graph.stages.up-2.window: 'x' is not allowed; allowed: int, at least 1 | null",
            "graph.stages.up-2.view.time: 3 does not divide 8 frames; allowed: a divisor of 8",
        ]

    def test_twice_the_same_name(self):
        """It is said once for all stages of the name, and the others are looked at as ever."""
        spec = toy(toy_base(), toy_stage(), toy_stage(), toy_stage(), toy_stage("top", "bsae", window=3))
        assert problems_of(spec) == [
            "graph.stages.full.name: 3 stages have this name; allowed: a name for each",
            "graph.stages.top.source: no stage is called 'bsae'; allowed: base, full; did you mean 'base'?",
            "graph.stages.top.window: 3 frames are no whole number of source frames; allowed: a multiple of 2",
        ]

    def test_a_name_that_is_none(self):
        """A stage without a usable name is called by its place; who names it as source may well be right."""
        changes = {"graph.stages.0.name": 3, "graph.stages.0.view": {"type": "NearestView", "options": {}}}
        assert problems_of(data_of(toy(), changes)) == [
            "graph.stages[0].name: 3 is not allowed; allowed: text",
            "graph.stages[0].view: a stage without a source has no view; allowed: null, or a source",
        ]


class TestSources:
    """Every stage leads back to one base."""

    @pytest.mark.parametrize(
        ("stages", "lines"),
        [
            (
                [toy_base(), toy_stage(source="bsae")],
                ["graph.stages.full.source: no stage is called 'bsae'; allowed: base; did you mean 'base'?"],
            ),
            (
                [toy_stage(source="nobody")],
                ["graph.stages.full.source: no stage is called 'nobody'; allowed: null"],
            ),
            (
                [toy_base(), toy_stage(source=None)],
                [
                    "graph.stages.full.source: is missing: 'base' has no source either, and a graph has one base "
                    "stage; allowed: base"
                ],
            ),
            (
                [toy_stage(source=None), toy_base(), toy_stage("other", None)],
                [
                    f"graph.stages.{name}.source: is missing: 'base' has no source either, and a graph has one base "
                    f"stage; allowed: {others}"
                    for name, others in [("full", "base, other"), ("other", "full, base")]
                ],
            ),
            (
                [toy_base(), toy_stage(source="full")],
                [
                    "graph.stages.full.source: the sources run in a circle: full -> full; "
                    "allowed: a stage without a source as base"
                ],
            ),
            (
                [toy_base(source="full"), toy_stage()],
                [
                    "graph.stages.base.source: the sources run in a circle: base -> full -> base; "
                    "allowed: a stage without a source as base"
                ],
            ),
            (
                [toy_base(), toy_stage("a", "c"), toy_stage("b", "a"), toy_stage("c", "b"), toy_stage("d", "d")],
                [
                    f"graph.stages.{circle[0]}.source: the sources run in a circle: {circle}; "
                    "allowed: a stage without a source as base"
                    for circle in ("a -> c -> b -> a", "d -> d")
                ],
            ),
            (
                [toy_base(), toy_stage(source=3)],
                ["graph.stages.full.source: 3 is not allowed; allowed: text | null"],
            ),
        ],
        ids=["unknown", "none to name", "two bases", "three bases", "itself", "each other", "two circles", "type"],
    )  # fmt: skip
    def test_one_line_each(self, stages, lines):
        """Whatever is wrong with the sources is said once, with nothing that only follows."""
        assert problems_of(toy(*stages)) == lines

    def test_beside_other_mistakes(self):
        """A stage with an unknown source has its other mistakes reported, too."""
        spec = toy(toy_base(), toy_stage(source="x", window=99, view=use("NearestView", time=3)))
        assert [line.partition(":")[0] for line in problems_of(spec)] == [
            "graph.stages.full.source",
            "graph.stages.full.view.time",
            "graph.stages.full.window",
        ]


class TestViews:
    """Views lead from each stage to its source, and from the data to each stage."""

    @pytest.mark.parametrize(
        ("changes", "line"),
        [
            ({"view": None}, "view: is missing: the stage has the source 'base'; allowed: use(\"NearestView\", ...)"),
            (
                {"view": use("Compose", views=[])},
                "view.views: there is no view to compose; allowed: at least one view",
            ),
            (
                {"view": use("Compose", views=[NEAREST, use("Compose", views=[])])},
                "view.views[1].views: there is no view to compose; allowed: at least one view",
            ),
            (
                {"view": use("Compose", views=[use("WindowView", frames=8), NEAREST])},
                "view.views[0].frames: a window of frames 0..8 is not inside 4 frames; "
                "allowed: start + frames at most 4",
            ),
            ({"view": use("ClumsyView", fails="construction")}, "view: fails with ZeroDivisionError: (no message)"),
            ({"view": use("ClumsyView", fails="clip")}, "view: fails with KeyError: 'clip'"),
            (
                {"view": use("ClumsyView", time=2, space=2, fails="forward")},
                "view: fails with RuntimeError: first line",
            ),
            (
                {"view": use("ClumsyView", time=2, space=2, fails="size")},
                "view: makes 8x8/4 @2 of the stage's window; allowed: 4x4/2 @2, as it declares",
            ),
            (
                {"data_view": use("NearestView", time=2)},
                "data_view: makes 8x8/4 @2 of graph.clip, which is 8x8/8 @1, but the stage's clip is 8x8/8 @1; "
                "allowed: a view that makes 8x8/8 @1",
            ),
            (
                {"data_view": use("NearestView", time=3)},
                "data_view.time: 3 does not divide 8 frames; allowed: a divisor of 8",
            ),
            ({"data_view": use("ClumsyView", fails="clip")}, "data_view: fails with KeyError: 'clip'"),
        ],
    )
    def test_of_a_stage(self, changes, line):
        """What is wrong with a view of the last stage is one line at that view."""
        assert problems_of(toy(toy_base(), toy_stage(**changes))) == [f"graph.stages.full.{line}"]

    def test_that_leave_out_frames(self):
        """A view of the first frames alone makes the source's clip, but the source cannot lead to the rest."""
        view = use("Compose", views=[use("WindowView", frames=8), NEAREST])
        spec = toy(toy_base(), toy_stage(clip=Clip(12, 8, 8), view=view), clip=Clip(12, 8, 8))
        assert problems_of(spec) == [
            "graph.stages.full.view: leaves out frames of the stage's clip, so its source cannot lead to them; "
            "allowed: a view of all frames"
        ]

    @pytest.mark.parametrize(
        "clip", [Clip(16, 8, 8), Clip(8, 8, 16), Clip(8, 8, 8, stride=2), Clip(8, 8, 8, channels=1)]
    )
    def test_missing_for_the_data(self, clip):
        """Where the last stage's clip is not the data's, that is said of the last stage alone."""
        assert problems_of(attrs.evolve(chain(), graph=attrs.evolve(chain().graph, clip=clip))) == [
            f"graph.stages.full.data_view: is missing: graph.clip is {clip}, but the stage's clip is 16x16/16 @1; "
            "allowed: a view that makes 16x16/16 @1"
        ]

    @pytest.mark.parametrize(
        ("own", "views", "line"),
        [
            (AREA, [NEAREST], "it and the view of a make"),
            (NEAREST, [AREA], "it and the view of a make"),
            (AREA, [NEAREST, NEAREST], "it and the views of a, b make"),
            (NEAREST, [NEAREST, AREA], "it and the views of a, b make"),
        ],
    )
    def test_of_the_data_that_disagree_with_a_consumer(self, own, views, line):
        """A source's own view of the data makes the videos that the stages above it see."""
        stages = [toy_stage(name, view=view) for name, view in zip("ab", views, strict=False)]
        assert problems_of(toy(toy_base(data_view=own), *stages)) == [
            f"graph.stages.base.data_view: {line} different videos of the same data; allowed: views that agree"
        ]

    def test_that_fail_under_a_view_of_the_data(self):
        """Where a consumer's view is wrong, nothing is concluded about its agreement with the view of the data."""
        for fails in ("size", "forward"):
            top = toy_stage(view=use("ClumsyView", time=2, space=2, fails=fails))
            lines = problems_of(toy(toy_base(data_view=NEAREST), top))
            assert [line.partition(":")[0] for line in lines] == ["graph.stages.full.view"]

    @pytest.mark.parametrize("before", [1, -2, 3])
    @pytest.mark.parametrize("window", [2, 6])
    def test_that_mix_frames_across_windows(self, before, window):
        """A window of the view must be the view of the window, whichever way frames are mixed (section 3.2)."""
        view = use("MixingView", time=2, space=2, before=before)
        assert problems_of(toy(toy_base(), toy_stage(view=view, window=window))) == [
            "graph.stages.full.view: makes other frames of a window than of the whole clip, so its stage cannot train "
            "on windows; allowed: a view that looks at no frame beyond the window, or no window"
        ]

    def test_that_mix_frames_inside_a_window_alone(self):
        """Means over the frames that one frame of the view stands for stay inside the window."""
        check(toy(toy_base(), toy_stage(view=AREA, window=2)))

    @pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
    def test_of_branches_that_disagree(self, names):
        """Two stages on one source must see it as one video of the same data; where they do not, it is said once."""
        views = {"a": NEAREST, "b": AREA}
        branches = [toy_stage(name, view=views[name]) for name in names]
        assert problems_of(toy(toy_base(), *branches)) == [
            f"graph.stages.base.data_view: the views of {', '.join(names)} make different videos of the same data; "
            "allowed: views that agree"
        ]

    def test_of_branches_that_the_data_does_not_lead_to(self):
        """Where one branch's own way from the data is wrong, nothing is concluded about their agreement."""
        branches = [toy_stage("a"), toy_stage("b", data_view=use("NearestView", time=2))]
        for stages in ([toy_base(), *branches], [*branches, toy_base()]):
            assert [line.partition(":")[0] for line in problems_of(toy(*stages))] == ["graph.stages.b.data_view"]

    def test_of_branches_further_up(self):
        """It is said of the stage that branches, not of those below it as well."""
        ends = [
            toy_stage(name, "mid", clip=Clip(16, 16, 16), window=8, view=view)
            for name, view in [("a", NEAREST), ("b", AREA)]
        ]
        spec = toy(*chain().graph.stages[:2], *ends, clip=Clip(16, 16, 16))
        assert [line.partition(":")[0] for line in problems_of(spec)] == ["graph.stages.mid.data_view"]

    def test_cause_is_kept(self):
        """The error of a component of the user's own is there for --debug."""
        with pytest.raises(InputError) as caught:
            check(toy(toy_base(), toy_stage(view=use("ClumsyView", fails="clip"))))
        assert isinstance(caught.value.__cause__, KeyError)


class TestNetworks:
    """Networks are built and run on the meta device."""

    @pytest.mark.parametrize(
        ("spec", "lines"),
        [
            (
                toy(toy_base(generator=use("UpsamplingGenerator", **GENERATOR)), toy_stage()),
                [
                    "graph.stages.base.generator: UpsamplingGenerator upsamples, but the stage has no source; "
                    "allowed: DVDGenerator, ToyGenerator"
                ],
            ),
            (
                toy(toy_base(), toy_stage(generator=use("DVDGenerator", **GENERATOR))),
                [
                    "graph.stages.full.generator: DVDGenerator takes no low-resolution video, but the stage has the "
                    "source 'base'; allowed: ToyUpsampler, UpsamplingGenerator"
                ],
            ),
            (
                toy(toy_base(generator=use("DVDGenerator", multipliers=[])), toy_stage()),
                [
                    "graph.stages.base.generator.multipliers: 0 units cannot reach 4x4 from 4x4; "
                    "allowed: at least 1 multipliers, one for each unit"
                ],
            ),
            (
                toy(
                    toy_base(clip=Clip(8, 64, 64), generator=use("DVDGenerator", multipliers=[1, 1])),
                    clip=Clip(8, 64, 64),
                ),
                [
                    "graph.stages.base.generator.multipliers: 2 units cannot reach 64x64 from 4x4; "
                    "allowed: at least 4 multipliers, one for each unit"
                ],
            ),
            (
                toy(toy_base(clip=Clip(8, 12, 12), generator=use("DVDGenerator")), clip=Clip(8, 12, 12)),
                [
                    "graph.stages.base.clip: 12x12 cannot be generated; "
                    "allowed: a square of 4, 8, 16, 32, 64, 128, ... pixels"
                ],
            ),
            (
                toy(toy_base(discriminators={"matching": use("MatchingDiscriminator", **DISCRIMINATOR)}), toy_stage()),
                [
                    "graph.stages.base.discriminators.matching: MatchingDiscriminator compares with a source, but the "
                    "stage has none; allowed: SpatialDiscriminator, TemporalDiscriminator, TimmDiscriminator, "
                    "ToyDiscriminator"
                ],
            ),
            (
                toy(toy_base(discriminators={"temporal": use("TemporalDiscriminator", pool=3)}), toy_stage()),
                ["graph.stages.base.discriminators.temporal.pool: 3 does not divide 4 pixels; allowed: a divisor of 4"],
            ),
            (
                toy(toy_base(generator=use("ToyGenerator", gives="half")), toy_stage()),
                ["graph.stages.base.generator: makes 4x4/2 @2, not the stage's window; allowed: 4x4/4 @2"],
            ),
            (
                toy(toy_base(generator=use("ToyGenerator", gives="flat")), toy_stage()),
                [
                    "graph.stages.base.generator: makes a tensor of shape (2, 192), not the stage's window; "
                    "allowed: 4x4/4 @2"
                ],
            ),
            (
                toy(toy_base(generator=use("ToyGenerator", gives="nothing")), toy_stage()),
                ["graph.stages.base.generator: makes a NoneType, not the stage's window; allowed: 4x4/4 @2"],
            ),
            (
                toy(toy_base(generator=use("ToyGenerator", gives="what")), toy_stage()),
                ["graph.stages.base.generator: fails with KeyError: 'what'"],
            ),
            (
                toy(
                    toy_base(
                        discriminators={
                            name: use("ToyDiscriminator", gives=name)
                            for name in ("video", "scalar", "scores", "nothing")
                        }
                    ),
                    toy_stage(),
                ),
                [
                    f"graph.stages.base.discriminators.{name}: gives {what} as scores; "
                    "allowed: a tensor of shape (2, outputs)"
                    for name, what in [
                        ("video", "a tensor of shape (2, 4, 3, 4, 4)"),
                        ("scalar", "a tensor of shape ()"),
                        ("nothing", "a NoneType"),
                    ]
                ],
            ),
        ],
        ids=[
            "upsampler in a base stage", "base generator with a source", "no units", "too few units",
            "size out of reach", "matching in a base stage", "pool", "too few frames", "no video", "nothing",
            "failure", "scores",
        ],
    )  # fmt: skip
    def test_one_line_each(self, spec, lines):
        """What a network cannot do in its place is said at that network."""
        assert problems_of(spec) == lines

    @pytest.mark.parametrize(
        ("spec", "line"),
        [
            (
                toy(toy_base(), toy_stage(generator=use("ToyUpsampler", gives="a window"))),
                "full.generator: makes the stage's window, but 8x8/4 @1 when asked for frames 0..8 of 8",
            ),
            (
                toy(toy_base(), toy_stage(generator=use("ToyUpsampler", gives="a window or an error"))),
                "full.generator: makes the stage's window, but fails with RuntimeError when asked for "
                "frames 0..8 of 8: first line",
            ),
            (
                toy(toy_base(), toy_stage(generator=use("ToyUpsampler", takes="nothing"))),
                "full.generator: makes the stage's window, but fails with AssertionError when asked for "
                "frames 0..8 of 8: wrong x_l",
            ),
            (
                toy(toy_base(generator=use("ToyGenerator", gives="a window")), toy_stage()),
                "base.generator: makes the stage's window, but 4x4/4 @2 when asked for frames 1..3 of 4",
            ),
        ],
    )
    def test_at_the_window_alone(self, spec, line):
        """A generator that does not apply at the other lengths it will be asked for is refused."""
        assert problems_of(spec) == [f"graph.stages.{line}; allowed: a generator of any frames of its clip"]

    def test_attention_over_time_takes_no_window(self):
        """A window of its videos would be no part of them: one line, of either kind of stage; whole it is sound."""

        def spec(axes, full, base=None):
            options = GENERATOR | {"attention_axes": axes}
            return toy(
                toy_base(generator=use("DVDGenerator", attention=[4], **options), window=base),
                toy_stage(generator=use("UpsamplingGenerator", attention=[8], **options), window=full),
            )

        said = (
            "makes each frame of all others (as attention over time does), so a window would be no part of the whole; "
            "allowed: no window, or a generator that looks only so many frames ahead"
        )
        assert problems_of(spec(["time"], full=4)) == [f"graph.stages.full.generator: {said}"]
        assert problems_of(spec(["time"], full=None, base=2)) == [f"graph.stages.base.generator: {said}"]
        check(spec(["time"], full=None))
        check(spec(["width", "height"], full=4, base=2))
        source = use("DVDGenerator", attention=[4], attention_axes=["time"], **GENERATOR)
        check(toy(toy_base(generator=source), toy_stage(window=4)))  # of a source, any window is cut from the whole

    def test_at_the_only_length(self):
        """Where nothing has a window, a generator of the whole clip is enough."""
        check(toy(toy_base(generator=use("ToyGenerator", gives="a window")), toy_stage(window=None)))

    def test_cause_of_a_failure_beyond_the_window(self):
        """It is there for --debug, as any other."""
        with pytest.raises(InputError) as caught:
            check(toy(toy_base(), toy_stage(generator=use("ToyUpsampler", gives="a window or an error"))))
        assert isinstance(caught.value.__cause__, RuntimeError)

    @pytest.mark.parametrize(
        ("refuses", "where"),
        [
            ("clip", "graph.stages.full.clip"),
            ("clip.height", "graph.stages.full.clip.height"),
            ("view", "graph.stages.full.view"),
            ("classes", "graph.classes"),
        ],
    )
    def test_what_they_are_given(self, fussy, refuses, where):
        """What a network has against what its stage gives it is said of the stage's field, and once."""
        options = {"refuses": refuses}
        generator, discriminator = use("FussyGenerator", **options), use("FussyDiscriminator", **options)
        for changes in (
            {"generator": generator},
            {"discriminators": {"a": discriminator}},
            {"generator": generator, "discriminators": {"a": discriminator}},
        ):
            assert problems_of(toy(toy_base(), toy_stage(**changes))) == [f"{where}: is refused"]

    def test_options_of_their_own(self, fussy):
        """An option stays the component's."""
        for changes, where in (
            ({"generator": use("FussyGenerator", refuses="refuses")}, "generator"),
            ({"discriminators": {"a": use("FussyDiscriminator", refuses="refuses")}}, "discriminators.a"),
        ):
            assert problems_of(toy(toy_base(), toy_stage(**changes))) == [
                f"graph.stages.full.{where}.refuses: is refused"
            ]

    def test_alone_on_a_view_that_fails(self):
        """Where the view itself fails, its networks are not blamed as well."""
        stage = upsampling_stage(view=use("ClumsyView", time=2, space=2, fails="size"))
        assert [line.partition(":")[0] for line in problems_of(small(toy_base(), stage))] == ["graph.stages.full.view"]


class TestJoint:
    """Stages that train together."""

    def test_base(self):
        """A base stage has nobody to train with."""
        assert problems_of(toy(toy_base(joint=True), toy_stage())) == [
            "graph.stages.base.joint: the base stage has no source to train with; allowed: false"
        ]

    def test_source_needs_no_discriminators(self):
        """Appendix H has no intermediate discriminators; the joint stage itself needs its own."""
        check(toy(toy_base(discriminators={}), toy_stage(joint=True)))
        [line] = problems_of(toy(toy_base(discriminators={}), toy_stage(joint=True, discriminators={})))
        assert line.startswith("graph.stages.full.discriminators: a stage that trains on its own needs one")

    def test_nothing_follows_from_a_wrong_type(self):
        """Who trains with whom is not known where ``joint`` is neither true nor false, or the source is no name."""
        changes = {"graph.stages.1.joint": "yes", "graph.stages.0.discriminators": {}}
        assert [line.partition(":")[0] for line in problems_of(data_of(toy(), changes))] == ["graph.stages.full.joint"]
        changes = {"graph.stages.1.joint": True, "graph.stages.1.source": 3}
        assert [line.partition(":")[0] for line in problems_of(data_of(toy(), changes))] == ["graph.stages.full.source"]


def test_broken_in_many_places():
    """A spec with a mistake of every kind has each reported exactly once, at its own place."""
    spec = small(
        base_stage(
            generator=use("UpsamplingGenerator", **GENERATOR),
            discriminators={"matching": use("MatchingDiscriminator", **DISCRIMINATOR), "spatial": use("Spatial")},
            joint=True,
        ),
        upsampling_stage("mid", "bsae", window=99, generator=use("UpsamplingGenerator", chanels=3)),
        upsampling_stage("top", "mid", view=use("NearestView", time=5), training={"workers": -1}, loss=use("Loss")),
        upsampling_stage("other", view=None, window=0, discriminators={}),
        upsampling_stage("other", "top"),
        data=use("SyntheticClips", clips=0),
        name="no name",
        seed="5",
    )
    data = data_of(spec)
    data["graph"]["stages"][1]["widnow"] = 3
    assert sorted(line.partition(":")[0] for line in problems_of(data)) == sorted(
        [
            "data.clips",
            "graph.stages.base.discriminators.matching",
            "graph.stages.base.discriminators.spatial",
            "graph.stages.base.generator",
            "graph.stages.base.joint",
            "graph.stages.mid.generator.chanels",
            "graph.stages.mid.source",
            "graph.stages.mid.widnow",
            "graph.stages.mid.window",
            "graph.stages.other.name",
            "graph.stages.other.window",
            "graph.stages.top.loss",
            "graph.stages.top.training.workers",
            "graph.stages.top.view.time",
            "name",
            "seed",
        ]
    )
