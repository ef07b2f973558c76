"""Peak memory: parts that sum up, a law that direct counting agrees with, and a process that really needs as much."""

import runpy
from pathlib import Path

import attrs
import pytest
from counted import CLIPS, OPTIONS, counted, tiny

from framework import dump
from framework.cost.memory import MemoryLaw, peak_of
from framework.cost.updates import count_updates

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", ["base", "full"])
def test_parts_are_all_there_is(name, options):
    """At the peak the parts sum to torch's own total; weights, states and gradients have the sizes of the networks."""
    updates = counted(name, **options)
    peak = peak_of(updates)
    assert peak.total == max(each.held[-1] for each in updates.operations)
    assert min(peak.bytes.values()) >= 0
    weights = peak.bytes["weights"]
    assert (
        2 * weights <= peak.bytes["optimizer"] <= 2 * weights + 4 * 500
    )  # Adam's two moments, and its counts of steps
    assert peak.bytes["gradients"] <= weights
    assert (peak.bytes["sources"] > 0) == (name == "full")
    assert (peak.bytes["other"] > 0) == ("average" in options)


@pytest.mark.parametrize(
    "options", [{}, {"activation_checkpointing": True, "precision": "bfloat16", "r1": 1.0}], ids=str
)
@pytest.mark.parametrize("name", ["base", "full"])
def test_law_is_what_is_counted(name, options):
    """From two batches the law tells the peak of any other to the byte, part by part."""
    law = MemoryLaw(counted(name, 3, **options), counted(name, 4, **options))
    for clips in (2, 40):
        assert law.at(clips) == peak_of(counted(name, clips, **options)), clips


def test_law_of_parts():
    """With a batch in parts the law is one of the clips at once; what all clips have, their noise, is little."""
    law = MemoryLaw(counted("base", 8, clips_per_gpu=2), counted("base", 12, clips_per_gpu=3))
    direct = peak_of(counted("base", 40, clips_per_gpu=10))
    assert law.at(10).total == pytest.approx(direct.total, rel=0.01)


@pytest.mark.parametrize("capacity", [400_000, 1_000_000])
def test_most_clips_are_the_most(capacity):
    """As many clips as the law finds fit, one more does not."""
    law = MemoryLaw(counted("full", 3), counted("full", 4))
    most = law.most_clips(capacity)
    assert peak_of(counted("full", most)).total <= capacity < peak_of(counted("full", most + 1)).total
    assert law.most_clips(1000) == 0


def test_updates_of_other_operations_have_no_law():
    """Steps that do other things are not points of one line."""
    with pytest.raises(ValueError, match="same operations"):
        MemoryLaw(counted("base", 3), counted("base", 4, r1=1.0))


def test_several_gpus_keep_their_buckets():
    """GPUs that reduce gradients hold room for all of them all the time."""
    experiment, of = tiny()
    alone, together = (
        peak_of(count_updates(experiment, "full", of["full"], CLIPS, device="cpu", gpus=gpus)) for gpus in (1, 2)
    )
    assert together.bytes["gradients"] == together.bytes["weights"]
    assert alone.total <= together.total <= alone.total + together.bytes["weights"]


def test_adam_on_a_gpu_needs_more():
    """Over all weights at once it makes temporaries of their size, which at one clip are the peak."""
    experiment, of = tiny()
    cpu, gpu = (peak_of(count_updates(experiment, "base", of["base"], 1, device=device)) for device in ("cpu", "gpu"))
    assert gpu.total >= cpu.total


@pytest.mark.parametrize("options", [{}, {"activation_checkpointing": True}], ids=["plain", "checkpointing"])
def test_a_process_needs_as_much(options, tmp_path):
    """The rise of a process's resident memory in a real iteration is within 25% of what is predicted."""
    experiment, _ = tiny(**options)
    larger = {"channels": 24, "multipliers": [2, 2, 1]}
    full = experiment.graph["full"]
    graph = experiment.graph
    clips = [
        attrs.evolve(stage.clip, height=8 * stage.clip.height, width=8 * stage.clip.width) for stage in graph.stages
    ]
    stages = [
        attrs.evolve(
            stage,
            clip=clip,
            generator=attrs.evolve(
                stage.generator,
                options={
                    **stage.generator.options,
                    "multipliers": [2] * (3 if stage is not full else 4),
                    "channels": 12,
                },
            ),
            discriminators={
                name: attrs.evolve(component, options={**component.options, **larger})
                for name, component in stage.discriminators.items()
            },
        )
        for stage, clip in zip(graph.stages, clips, strict=True)
    ]
    experiment = attrs.evolve(experiment, graph=attrs.evolve(graph, clip=clips[-1], stages=stages))
    spec = tmp_path / "spec.json"
    spec.write_text(dump(experiment))
    benchmark = runpy.run_path(str(ROOT / "benchmarks" / "memory.py"))
    predicted = benchmark["predict"](str(spec), "full", 16, [])
    assert predicted > 150e6, "too little to tell from what else a process holds"
    assert benchmark["measure"](str(spec), "full", 16, []) == pytest.approx(predicted, rel=0.25)
