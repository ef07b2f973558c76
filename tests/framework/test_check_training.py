"""What a training asks for, checked: fields that cannot be as they are, or not together."""

import pytest
from small_specs import base_stage, data_of, small, upsampling_stage

from framework import Training
from framework.check.repair import structure_what_can_be
from framework.check.training import check_training

HALF = "{}.r1: the penalty's gradients of gradients vanish in float16; allowed: precision "
FULL = "graph.stages.full.training"


def problems_of(spec) -> list[str]:
    """The lines of what is wrong with the fields of a spec; its networks, which take long, are not looked at."""
    experiment, findings = structure_what_can_be(spec if isinstance(spec, dict) else data_of(spec))
    check_training(experiment, findings)
    return [str(problem) for problem in findings.problems]


def with_full(full: dict, **training):
    """A spec whose second stage trains otherwise."""
    return small(base_stage(), upsampling_stage(training=full), training=Training(batch_size=2, **training))


@pytest.mark.parametrize(
    ("full", "training"),
    [
        ({}, {"keep_best": "min:loss_D", "r1": 10.0, "precision": "bfloat16"}),
        ({"keep_best": "max:spatial/real"}, {"precision": "float16"}),
        ({"precision": "float32", "r1": 1.0}, {"precision": "float16"}),
        ({"r1": 0.0, "precision": "float16"}, {"r1": 1.0}),
        ({"compile": ["generator", "discriminators"], "clips_per_gpu": None}, {"average": 0.0}),
    ],
)
def test_sound_trainings(full, training):
    """Nothing is wrong with these."""
    assert problems_of(with_full(full, **training)) == []


@pytest.mark.parametrize("best", ["loss_D", "best:loss_D", "min:", "min: loss_D", "min"])
def test_best_of_what(best):
    """A metric without a direction, or a direction without a metric: one line, at the place that says it."""
    for where, spec in (
        ("training", with_full({}, keep_best=best)),
        (FULL, with_full({"keep_best": best})),
        ("training", with_full({"r1": 1.0}, keep_best=best)),
    ):
        [line] = problems_of(spec)
        assert line == (
            f"{where}.keep_best: {best!r} does not say which is best of what; "
            'allowed: "min:NAME" or "max:NAME" with a name of metrics.jsonl'
        )


@pytest.mark.parametrize(
    ("where", "full", "training"),
    [
        ("training", {}, {"r1": 1.0, "precision": "float16"}),
        ("training", {"iterations": 3}, {"r1": 1.0, "precision": "float16"}),
        (FULL, {"r1": 1.0, "precision": "float16"}, {}),
        (FULL, {"r1": 1.0}, {"precision": "float16"}),
        (FULL, {"precision": "float16"}, {"r1": 1.0}),
    ],
)
def test_the_penalty_does_not_go_with_float16(where, full, training):
    """Also where the experiment says the one and a stage the other; said once, where it comes together."""
    [line] = problems_of(with_full(full, **training))
    assert line.startswith(HALF.format(where))


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("precision", "float8", "did you mean 'float"),
        ("average", 1.0, "allowed"),
        ("average", -0.1, "allowed"),
        ("compile", ["generators"], "did you mean 'generator'"),
        ("clips_per_gpu", 0, "at least 1"),
        ("max_grad_norm", 0.0, "allowed"),
        ("r1", -1.0, "allowed"),
        ("on_divergence", "ignore", "allowed"),
        ("deterministic", 1, "allowed"),
        ("keep_checkpoints", 0, "at least 1"),
    ],
)
def test_values_that_are_not_allowed(field, value, allowed):
    """One line each, of the experiment and of a stage, with what is allowed."""
    for changes, where in (
        ({f"training.{field}": value}, "training"),
        ({"graph.stages.1.training": {field: value}}, FULL),
    ):
        [line] = problems_of(data_of(small(), changes))
        assert line.startswith(f"{where}.{field}")
        assert allowed in line


def test_unknown_fields():
    """The nearest field is named."""
    [line] = problems_of(data_of(small(), {"training.clip_per_gpu": 2}))
    assert line.endswith("did you mean 'clips_per_gpu'?")


@pytest.mark.parametrize(
    ("where", "full", "training"),
    [
        ("training", {}, {"r1": 1.0, "compile": ["generator", "discriminators"]}),
        (FULL, {"r1": 1.0}, {"compile": ["discriminators"]}),
    ],
)
def test_the_penalty_does_not_go_with_compiled_discriminators(where, full, training):
    """They have no gradients of gradients; the generator alone may be compiled."""
    [line] = problems_of(with_full(full, **training))
    assert line == (
        f"{where}.r1: torch.compile makes no gradients of gradients, which the penalty needs; "
        'allowed: compile=["generator"], or r1=0'
    )
    assert problems_of(with_full({}, r1=1.0, compile=["generator"])) == []


@pytest.mark.parametrize(
    ("stages", "training", "line"),
    [
        (
            [base_stage(training={"prefix_bank": 3}), upsampling_stage()],
            {},
            "graph.stages.base.training.prefix_bank: a base stage has no source to keep videos of; allowed: null",
        ),
        (
            [base_stage()],
            {"prefix_bank": 3},
            "training.prefix_bank: no stage has a source to keep videos of; allowed: null",
        ),
        ([base_stage(), upsampling_stage()], {"prefix_bank": 3}, None),
        ([base_stage(), upsampling_stage(training={"prefix_bank": 3})], {}, None),
        ([base_stage(training={"prefix_bank": None}), upsampling_stage()], {"prefix_bank": 3}, None),
    ],
)
def test_a_bank_needs_a_source(stages, training, line):
    """Said of a base stage, or of an experiment of a base alone; said for all, the base goes without."""
    spec = small(*stages, training=Training(batch_size=2, **training))
    assert problems_of(spec) == ([] if line is None else [line])
    [wrong] = problems_of(data_of(small(), {"training.prefix_bank": 0}))
    assert wrong.startswith("training.prefix_bank: 0 is not allowed; allowed: int, at least 1")


@pytest.mark.parametrize(
    ("where", "full", "training"),
    [
        ("training", {}, {"prefix": "iteration", "prefix_bank": 3}),
        (FULL, {"prefix": "iteration", "prefix_bank": 3}, {}),
        (FULL, {"prefix": "iteration"}, {"prefix_bank": 3}),
        (FULL, {"prefix_bank": 3}, {"prefix": "iteration"}),
    ],
)
def test_a_bank_is_not_drawn_once_an_iteration(where, full, training):
    """One line, where both come together; a stage that takes back either is sound."""
    assert problems_of(with_full(full, **training)) == [
        f"{where}.prefix: a bank's windows are read anew for each update at no cost; there is nothing to draw but once"
        '; allowed: prefix="update", or prefix_bank=null'
    ]
    assert problems_of(with_full({"prefix": "update"}, prefix="iteration")) == []
    assert problems_of(with_full({"prefix": "iteration", "prefix_bank": None}, prefix_bank=3)) == []
    assert problems_of(with_full({"prefix": "update", "prefix_bank": 3}, prefix="iteration")) == []


def test_nothing_follows_from_a_wrong_source():
    """Where it is not known whether a stage has a source, a bank is not complained of."""
    data = data_of(small(training=Training(batch_size=2, prefix_bank=3)), {"graph.stages.1.source": 3})
    assert [line.partition(":")[0] for line in problems_of(data)] == ["graph.stages.full.source"]
