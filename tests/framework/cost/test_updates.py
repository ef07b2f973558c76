"""The counted updates are those that training makes: torch's counter around real steps is the witness."""

import pytest
import torch
from counted import CLIPS, OPTIONS, counted, flops, real_step

from framework.cost.updates import PARTS

OF_PREFIX = [{"prefix": "iteration", "clips_per_gpu": 2}, {"prefix_bank": 8, "one_pass": False, "fused_adam": False}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", ["base", "full"])
def test_flops_of_an_iteration(name, options):
    """A real iteration, of real tensors, has exactly the FLOPs that its updates were counted to, however it is cut."""
    updates = counted(name, **options)
    assert sum(each.flops * updates.times(each) for each in updates.operations) == flops(real_step(name, **options))


@pytest.mark.parametrize("options", OF_PREFIX, ids=str)
def test_flops_where_the_prefix_is_not_of_each_update(options):
    """The same where x̂_l is drawn once for all updates, in parts, or comes from a bank."""
    updates = counted("full", **options)
    assert sum(each.flops * updates.times(each) for each in updates.operations) == flops(real_step("full", **options))
    assert any(each.flops for each in updates.operations if each.part == "prefix") == ("prefix_bank" not in options)


@pytest.mark.parametrize("window", [0, 2])
def test_flops_of_the_prefix(window):
    """What belongs to the prefix are the frozen sources' FLOPs over the window, once for every update."""
    updates = counted("full", window=window)
    found = sum(each.flops * updates.times(each) for each in updates.operations if each.part == "prefix")
    step = real_step("full", window=window)
    latents, labels = step.model.draw(CLIPS), step.batches[0]["label"]
    alone = flops(lambda: step.model.sources.frames(latents.of_sources, labels, latents.window))
    assert found == 3 * alone


def test_flops_of_each_network():
    """A network's forward passes and its backward passes are its own, in both updates."""
    updates = counted("base")
    found = {
        (phase, part): sum(each.flops for each in updates.operations if (each.phase, each.part) == (phase, part))
        for phase in "DG"
        for part in PARTS
    }
    model = real_step("base").model
    latents, labels = model.draw(CLIPS), torch.zeros(CLIPS, dtype=torch.int64)
    with torch.no_grad():
        assert flops(lambda: model.fake(labels, latents)) == found["D", "generator"]
    assert flops(lambda: model.fake(labels, latents).x.sum().backward()) == found["G", "generator"]

    x = torch.zeros(2 * CLIPS, *model.stage.clip.shape(1)[1:])
    both = labels.repeat(2)
    score = lambda x, y: sum(each.sum() for each in model.discriminators(x, y, None).values()).backward()  # noqa: E731
    assert flops(lambda: score(x, both)) == found["D", "discriminators"]
    model.discriminators.requires_grad_(False)
    assert flops(lambda: score(x[:CLIPS].requires_grad_(), labels)) == found["G", "discriminators"]
    assert not any(found[phase, part] for phase in "DG" for part in ("optimizer", "rest"))


def test_steps_and_parts_are_counted():
    """Only the first two parts of a batch are run; the others cost what the second does."""
    whole, cut = counted("base", clips=12, clips_per_gpu=2), counted("base", clips=4, clips_per_gpu=2)
    assert (whole.parts, cut.parts) == (6, 2)
    assert [each[:5] for each in whole.operations] == [each[:5] for each in cut.operations]
    ours = {whole.times(each) for each in whole.operations}
    assert ours == {2, 1, 10, 5}  # D and G; once, and five times more


def test_compiling_is_not_tried():
    """A spec that compiles is counted as it is without."""
    plain, compiled = counted("base"), counted("base", compile=("generator", "discriminators"))
    assert [each[:5] for each in plain.operations] == [each[:5] for each in compiled.operations]
