"""``--set KEY=VALUE``: every form that is documented, and what is said of every other."""

import attrs
import pytest
from small_specs import base_stage, data_of, problems_of, small, upsampling_stage

from framework import Training, use
from framework.check import check
from framework.experiment import Experiment
from framework.overrides import apply_overrides
from registry import InputError
from registry.convert import structure

FIELDS = [field.name for field in attrs.fields(Training)]


def after(*settings, spec=None):
    """The experiment after the settings, types checked, and the notes."""
    data = data_of(spec or small())
    notes = apply_overrides(data, settings)
    return structure(data, Experiment), notes


def full(*settings, spec=None):
    """The stage ``full`` after settings of it: ``window=2``."""
    experiment, _ = after(*(f"stages.full.{setting}" for setting in settings), spec=spec)
    return experiment.graph["full"]


def refusals(*settings, spec=None):
    """The lines of the error that the settings give."""
    with pytest.raises(InputError) as caught:
        apply_overrides(data_of(spec or small()), settings)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("training.iterations=7", "training.iterations", 7),
        ("training.generator_lr=2e-3", "training.generator_lr", 0.002),
        ("training.betas=[0.1, 0.9]", "training.betas", [0.1, 0.9]),
        ("training.betas=(0.1, 0.9)", "training.betas", [0.1, 0.9]),
        ("training.betas[1]=0.5", "training.betas.1", 0.5),
        ("training.betas.1=0.5", "training.betas.1", 0.5),
        ("seed=1_000", "seed", 1000),
        (" seed =3", "seed", 3),
        ("name=other", "name", "other"),
        ("name='other'", "name", "other"),
        ('name="7"', "name", "7"),
        ("name=a=b", "name", "a=b"),
        ("name={[]: 1}", "name", "{[]: 1}"),
        ('imports=["mine"]', "imports", ["mine"]),
        ("graph.classes=null", "graph.classes", None),
        ("graph.classes=None", "graph.classes", None),
        ("graph.clip.frames=16", "graph.clip.frames", 16),
        ("graph.stages.full.window=2", "graph.stages.1.window", 2),
        ("stages.full.window=2", "graph.stages.1.window", 2),
        ("stages.1.window=2", "graph.stages.1.window", 2),
        ("graph.stages[1].window=2", "graph.stages.1.window", 2),
        ("stages[1].window=2", "graph.stages.1.window", 2),
        ("stages.full.joint=true", "graph.stages.1.joint", True),
        ("stages.full.joint=True", "graph.stages.1.joint", True),
        ("stages.full.training.iterations=3", "graph.stages.1.training.iterations", 3),
        ('stages.full.clip={"frames": 2}', "graph.stages.1.clip", {"frames": 2}),
        ("stages.full.generator.channels=5", "graph.stages.1.generator.options.channels", 5),
        ("stages.full.generator.options.channels=5", "graph.stages.1.generator.options.channels", 5),
        ("stages.full.generator.attention=[8]", "graph.stages.1.generator.options.attention", [8]),
        ("stages.full.generator.multipliers[0]=4", "graph.stages.1.generator.options.multipliers.0", 4),
        ("stages.base.discriminators.spatial.frames=3", "graph.stages.0.discriminators.spatial.options.frames", 3),
        ("data.clips=3", "data.options.clips", 3),
    ],
)
def test_values(setting, path, value):
    """A value is JSON, a Python literal or text, at a path by names or indices; everything else stays as it was."""
    data = data_of(small())
    assert apply_overrides(data, [setting]) == []
    assert data == data_of(small(), {path: value}) != data_of(small())


def test_later_settings_see_earlier_ones():
    """Settings are applied in their order."""
    assert full("window=2", "window=6").window == 6
    stage = full("view=AreaView(time=4)", "view.space=4", "view=NearestView")
    assert stage.view == use("NearestView", time=4, space=4)


class TestComponents:
    """Where a component stands."""

    def test_swap_by_name_keeps_options(self):
        """The options that the new component has too are kept, with no note."""
        experiment, notes = after("stages.full.view=AreaView")
        assert experiment.graph["full"].view == use("AreaView", time=2, space=2)
        assert notes == []

    def test_swap_by_name_drops_options(self):
        """Those that it has not are left out, and a note says so."""
        experiment, notes = after("stages.full.discriminators.spatial=TimmDiscriminator", "data=ClipStore")
        assert experiment.graph["full"].discriminators["spatial"] == use("TimmDiscriminator")
        assert notes == [
            "graph.stages.full.discriminators.spatial: TimmDiscriminator has no option channels, multipliers; left out",
            "data: ClipStore has no option clips, frames, size; left out",
        ]

    def test_type_is_the_component(self):
        """Setting ``type`` is setting the component."""
        assert full("view.type=AreaView").view == use("AreaView", time=2, space=2)

    def test_call_sets_exactly_its_options(self):
        """A call with options has no others; one without has none."""
        assert full("view=AreaView(time=4)").view == use("AreaView", time=4)
        assert full("view=AreaView()").view == use("AreaView")
        assert full("loss=GeometricHinge(sum_frames=true)").loss == use("GeometricHinge", sum_frames=True)
        assert full("generator=UpsamplingGenerator(multipliers=(2, 1), temporal_layer='convgru')").generator == use(
            "UpsamplingGenerator", multipliers=[2, 1], temporal_layer="convgru"
        )

    def test_json_is_a_component_too(self):
        """With or without options; options can be set in it afterwards."""
        stage = full('view={"type": "AreaView", "options": {"time": 2}}', "view.space=2")
        assert stage.view == use("AreaView", time=2, space=2)
        assert full('view={"type": "AreaView"}', "view.time=2").view == use("AreaView", time=2)

    def test_calls_hold_calls(self):
        """An option may be a component, or a list of them, named or called."""
        expected = use("Compose", views=[use("AreaView", time=2), use("NearestView")])
        assert full("view=Compose(views=[AreaView(time=2), NearestView])").view == expected

    def test_inside_a_composed_view(self):
        """Nested components are reached by index: their options, and they themselves."""
        spec = small(
            base_stage(),
            upsampling_stage(view=use("Compose", views=[use("AreaView", time=2), use("AreaView", space=2)])),
        )
        stage = full("view.views[1].space=4", "view.views[0]=NearestView", spec=spec)
        assert stage.view == use("Compose", views=[use("NearestView", time=2), use("AreaView", space=4)])

    def test_null_removes(self):
        """A discriminator is gone; a view, which may be absent, is None; so is what was never there."""
        assert list(full("discriminators.matching=null").discriminators) == ["spatial"]
        assert full("view=null").view is None
        assert full("data_view=null").data_view is None

    def test_adding_a_discriminator(self):
        """A new name among the discriminators is a new discriminator, whose options can then be set."""
        stage = full("discriminators.extra=SpatialDiscriminator", "discriminators.extra.frames=2")
        assert stage.discriminators["extra"] == use("SpatialDiscriminator", frames=2)
        assert list(stage.discriminators) == ["spatial", "matching", "extra"]

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("[FID, PSD(frames=[1, 2])]", [use("FID"), use("PSD", frames=[1, 2])]),
            ("Motion", [use("Motion")]),
            ('[{"type": "Motion"}]', [use("Motion")]),
            ('[{"type": "A", "options": {"b": null}}]', [use("A", b=None)]),
            ("[]", []),
        ],
    )
    def test_lists(self, value, expected):
        """Names, calls and JSON, one after another or one alone."""
        assert list(after(f"training.evaluate={value}")[0].training.evaluate) == expected

    def test_features(self):
        """A feature network is a component as well."""
        experiment, _ = after("training.evaluate_features=RandomFeatures")
        assert experiment.training.evaluate_features == use("RandomFeatures")

    def test_where_none_stood(self):
        """A component can be set where there was none."""
        assert full("data_view=AreaView(time=2)").data_view == use("AreaView", time=2)

    def test_options_called_like_places(self):
        """An option that is called ``view`` or ``data`` is an option like any other."""
        spec = small(data=use("Mine", view=1, data="x"))
        experiment, _ = after("data.view=2", "data.data=y", "data.options.loss=z", spec=spec)
        assert experiment.data == use("Mine", view=2, data="y", loss="z")

    def test_unknown_component_is_left_to_the_check(self):
        """Swapping in a misspelled component keeps everything, so that the check says just what is misspelled."""
        data = data_of(small())
        assert apply_overrides(data, ["stages.full.view=AreaVeiw"]) == []
        assert problems_of(data) == [
            "graph.stages.full.view: no view is called 'AreaVeiw'; "
            "allowed: AntialiasedView, AreaView, Compose, NearestView, WindowView; did you mean 'AreaView'?"
        ]


COMPONENT = "NAME, NAME(option=value, ...) or null"
NEITHER = "(a name, or a call with named options, is expected)"


@pytest.mark.parametrize(
    ("setting", "where", "what"),
    [
        ("training", "--set training", "is no setting; allowed: KEY=VALUE"),
        ("=3", "--set =3", "is no setting; allowed: KEY=VALUE"),
        ("", "--set", "is no setting; allowed: KEY=VALUE"),
        (
            "sede=3",
            "sede",
            "no field is called 'sede'; allowed: data, graph, imports, name, seed, stages, training; "
            "did you mean 'seed'?",
        ),
        (
            "training.iteratons=3",
            "training.iteratons",
            f"no field is called 'iteratons'; allowed: {', '.join(sorted(FIELDS))}; did you mean 'iterations'?",
        ),
        (
            "stages.ful.window=3",
            "graph.stages.ful",
            "no stage is called 'ful'; allowed: base, full; did you mean 'full'?",
        ),
        ("stages.7.window=3", "graph.stages.7", "no stage is called '7'; allowed: base, full"),
        (
            "graph.clip.frame=3",
            "graph.clip.frame",
            "no field is called 'frame'; allowed: channels, frames, height, stride, width; did you mean 'frames'?",
        ),
        (
            "stage.full.window=2",
            "stage",
            "no field is called 'stage'; allowed: data, graph, imports, name, seed, stages, training; "
            "did you mean 'stages'?",
        ),
        (
            "training.evaluate=[Motion, 3]",
            "training.evaluate",
            f"'3' is no component {NEITHER}; allowed: {COMPONENT}",
        ),
        ("training.iterations.x=3", "training.iterations.x", "training.iterations is 2, nothing is inside it"),
        (
            "stages.base.view.time=3",
            "graph.stages.base.view.time",
            "graph.stages.base.view is null, nothing is inside it",
        ),
        (
            "stages.full.generator.multipliers[3]=1",
            "graph.stages.full.generator.multipliers.3",
            "no entry is called '3'; allowed: 0",
        ),
        (
            "stages.full.view.views[0]=A",
            "graph.stages.full.view.views",
            "no option set here is called 'views'; allowed: space, time",
        ),
        (
            "stages.full.discriminators.matcing=null",
            "graph.stages.full.discriminators.matcing",
            "no discriminator is called 'matcing'; allowed: matching, spatial; did you mean 'matching'?",
        ),
        *(
            (f"stages.full.view={value}", "graph.stages.full.view", f"{what}; allowed: {COMPONENT}")
            for value, what in [
                ("", "no component is named"),
                ("3", f"'3' is no component {NEITHER}"),
                ("NearestView(2)", f"'NearestView(2)' is no component {NEITHER}"),
                ("NearestView(**{})", f"'NearestView(**{{}})' is no component {NEITHER}"),
                ("NearestView(time=", "'NearestView(time=' is no component ('(' was never closed)"),
                ("A(b={[]: 1})", "'A(b={[]: 1})' is no component (unhashable type: 'list')"),
            ]
        ),
    ],
)
def test_keys_and_values_that_lead_nowhere(setting, where, what):
    """What a setting gets wrong is one line, with the nearest of what there is."""
    assert refusals(setting) == [f"{where}: {what}"]


def test_all_refusals_at_once():
    """Several wrong settings are several problems."""
    wheres = [line.partition(":")[0] for line in refusals("foo=3", "stages.x.window=4", "seed=1", "bar")]
    assert wheres == ["foo", "graph.stages.x", "--set bar"]


def test_values_are_as_strict_as_specs():
    """What settings put in is checked as if it stood in the spec, all of it at once."""
    data = data_of(small())
    apply_overrides(
        data,
        [
            "seed='5'",
            "training.iterations=1e3",
            "stages.base.joint=1",
            "stages.base.loss=null",
            "stages.base.data_view={}",
            "stages.full.generator.chanels=3",
            "stages.full.view=Compose(views=AreaView)",
            "stages.full.training.itertions=3",
        ],
    )
    component = 'is not a component; allowed: use("NAME", option=value, ...)'
    assert sorted(problems_of(data)) == [
        f"graph.stages.base.data_view: {{}} {component}",
        "graph.stages.base.joint: 1 is not allowed; allowed: true | false",
        f"graph.stages.base.loss: None {component}",
        "graph.stages.full.generator.chanels: 'chanels' is not an option of UpsamplingGenerator; allowed: channels, "
        "multipliers, temporal_layer, noise_dim, embedding_dim, attention, attention_axes; did you mean 'channels'?",
        "graph.stages.full.training.itertions: 'itertions' is not a field of Training; "
        f"allowed: {', '.join(FIELDS)}; did you mean 'iterations'?",
        "graph.stages.full.view.views: AreaView() is not allowed; allowed: list of View",
        "seed: '5' is not allowed; allowed: int, at least 0",
        "training.iterations: 1000.0 is not allowed; allowed: int, at least 1",
    ]


def test_a_changed_spec_is_sound():
    """Swaps, additions and removals together make a spec that passes the check."""
    data = data_of(small())
    apply_overrides(
        data,
        [
            "stages.full.view=Compose(views=[AreaView(time=2), NearestView(space=2)])",
            "stages.full.discriminators.matching=null",
            "stages.base.discriminators.more=TemporalDiscriminator(channels=1, multipliers=[1], pool=1)",
            "stages.full.loss=NonSaturating",
            "graph.classes=null",
        ],
    )
    assert list(check(data).graph["base"].discriminators) == ["spatial", "temporal", "more"]


def test_a_stage_that_keeps_its_own_training_is_noted():
    """Setting a field for the experiment says which stages have their own, since those do not change."""
    own = data_of(small(base_stage(), upsampling_stage(training={"iterations": 7})))
    assert apply_overrides(own, ["training.iterations=3"]) == [
        "graph.stages.full.training.iterations=7 stands; set it as well"
    ]
    assert apply_overrides(own, ["training.batch_size=3"]) == []
