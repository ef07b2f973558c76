"""How costs grow: scaled experiments that are sound, flat steps, and extrapolations that hold."""

from pathlib import Path

import attrs
import pytest
from counted import setting, tiny

from framework.check import check
from framework.cost.growth import LENGTHS, SINGLE, SIZES, growth, scaled, single_stage
from framework.cost.growth_report import growth_data, growth_text, save_growth_plot
from framework.cost.memory import peak_of
from framework.cost.updates import count_updates
from framework.spec_file import load_spec
from registry.convert import unstructure

EXPERIMENTS = Path(__file__).parents[3] / "experiments"

# What they share takes most of their time: one test process makes it.
pytestmark = pytest.mark.xdist_group("growth")


@pytest.fixture(scope="module")
def grown():
    """Of the tiny cascade with longer windows of time, on 64 clips."""
    experiment, _ = tiny()
    return experiment, growth(experiment, setting(batch=64))


def test_an_upsampling_step_is_flat_in_length(grown):
    """Its own FLOPs, bytes and memory are those of the window whatever the video's length; the prefix's grow."""
    _, found = grown
    points = found.length["full"]
    assert len({point.own.flops for point in points}) == 1
    assert points[-1].memory <= 1.02 * points[0].memory  # the sources' statistics have a row for each frame
    assert points[0].prefix.flops < points[1].prefix.flops < points[2].prefix.flops


@pytest.mark.parametrize("name", ["base", SINGLE])
def test_extrapolation_is_what_is_counted(grown, name):
    """A stage of whole clips costs, at 2 and 4 times the frames, what counting it there says."""
    experiment, found = grown
    whole = single_stage(experiment) if name == SINGLE else experiment
    stage = whole.graph.names()[0]
    for factor, point in list(zip(LENGTHS, found.length[name], strict=True))[1:]:
        longer = scaled(whole, factor)
        updates = count_updates(longer, stage, longer.training_of(longer.graph[stage]), 64)
        flops = sum(each.flops * updates.times(each) for each in updates.operations)
        assert point.own.flops == pytest.approx(flops, rel=0.02)
        assert point.memory == pytest.approx(peak_of(updates).total, rel=0.05)


@pytest.mark.parametrize("size", [0.5, 2])
@pytest.mark.parametrize("frames", [1, 2, 4])
def test_scaled_specs_are_sound(size, frames):
    """A shipped cascade of another length and size passes the check, and its networks have as many more multipliers."""
    experiment, _ = load_spec(EXPERIMENTS / "quickstart.py")
    other = scaled(experiment, frames, size)
    check(unstructure(other))
    for before, after in zip(experiment.graph.stages, other.graph.stages, strict=True):
        more = len(after.generator.options["multipliers"]) - len(before.generator.options["multipliers"])
        assert more == (1 if size == 2 else -1)
        assert after.window == before.window
        assert after.clip.frames == frames * before.clip.frames


def test_single_stage_is_the_baseline():
    """Of the Kinetics cascade it is the shipped DVD-GAN, but for the length and the names."""
    experiment, _ = load_spec(EXPERIMENTS / "kinetics_2stage.py")
    baseline, _ = load_spec(EXPERIMENTS / "dvd_gan_48.py")
    ours, theirs = single_stage(experiment).graph["single"], baseline.graph["full"]
    assert attrs.evolve(ours, name=theirs.name, clip=theirs.clip) == theirs


def test_shown(grown, tmp_path):
    """The table has a line for each stage; a size that networks cannot have is a dash; the plot is a picture."""
    _, found = grown
    text = growth_text(found)
    assert max(map(len, text.splitlines())) <= 100
    assert all(f"  {name} " in text for name in ("base", "full", SINGLE))
    data = growth_data(found)
    assert data["length"]["factors"] == list(LENGTHS)
    assert [point is None for point in data["size"]["base"]] == [point is None for point in found.size["base"]]
    assert len(found.size["full"]) == len(SIZES)
    save_growth_plot(found, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
