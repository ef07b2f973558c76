"""Updates that fail leave no trace; too many of them in a row are an error."""

import pytest
import torch
from stage_makers import make_batch, make_stage
from tiny_runs import QUICK, base_stage
from torch import nn

from components.clip import Clip
from framework import StageGraph
from framework.rules import Rules
from framework.runner import make_optimizers
from framework.undo import MOST_IN_A_ROW, Undo
from framework.update import NetworkOptimizer, NotFiniteError


class Counter(nn.Module):
    """Two buffers that forwards change: one in place, one by another tensor in its stead."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("inside", torch.zeros(2))
        self.register_buffer("longer", torch.zeros(0))

    def forward(self) -> None:
        self.inside += 1
        self.longer = torch.cat([self.longer, torch.ones(1)])


def good() -> dict:
    return {"loss": torch.tensor(1.0)}


def bad() -> dict:
    raise NotFiniteError("the loss of the generator")


def test_buffers_are_put_back():
    """The same tensors with the same values as before the update, however they changed; good updates stay."""
    module = nn.ModuleDict({"counter": Counter()})
    counter, undo = module["counter"], Undo(module)

    def counting(update):
        counter()
        counter()
        return update()

    assert undo.attempt(lambda: counting(good)) == good()
    inside, longer = counter.inside, counter.longer
    assert undo.attempt(lambda: counting(bad)) == {}
    assert counter.inside is inside
    assert counter.longer is longer
    assert (counter.inside.tolist(), counter.longer.tolist()) == ([2, 2], [1, 1])
    assert list(counter.state_dict()) == ["inside", "longer"]


def test_failures_are_counted():
    """How many there were since last asked; a good one among them ends the row, but not the count."""
    undo = Undo(Counter())
    for update in (bad, good, bad, bad):
        undo.attempt(update)
    assert [undo.taken(), undo.taken()] == [3, 0]


def test_too_many_in_a_row_are_an_error():
    """One less is no error, again and again; the last one is, and says how many there were."""
    undo = Undo(Counter())
    for _ in range(2):
        for _ in range(MOST_IN_A_ROW - 1):
            undo.attempt(bad)
        undo.attempt(good)
    for _ in range(MOST_IN_A_ROW - 1):
        undo.attempt(bad)
    with pytest.raises(NotFiniteError, match=f"the generator .{MOST_IN_A_ROW} updates in a row"):
        undo.attempt(bad)


def test_other_errors_are_not_undone():
    """They come out as they are."""
    with pytest.raises(ZeroDivisionError):
        Undo(Counter()).attempt(lambda: 1 / 0)


@pytest.mark.parametrize("which", ["discriminator", "generator"])
def test_an_iteration_without_an_update_that_failed(monkeypatch, which):
    """A failed update of either network leaves it, its optimizer and every buffer as if it had not been tried."""
    graph = StageGraph(clip=Clip(4, 4, 4), classes=3, stages=[base_stage(Clip(4, 4, 4))])
    stage = make_stage(graph, "base").train()
    stage.rules, stage._undo = Rules(skip=True), (Undo(stage), Undo(stage))
    optimizers = make_optimizers(stage, QUICK)
    batch = make_batch(Clip(4, 4, 4), 3, 3)
    stage.train_step([batch], optimizers)
    finish = NetworkOptimizer.finish

    def spoilt(optimizer, losses):
        if optimizer is optimizers[which]:
            next(p for group in optimizer.param_groups for p in group["params"]).grad.fill_(float("nan"))
        return finish(optimizer, losses)

    before = {name: value.clone() for name, value in stage.state_dict().items()}
    steps = {name: {int(s["step"]) for s in o.optimizer.state.values()} for name, o in optimizers.items()}
    with monkeypatch.context() as patch:
        patch.setattr(NetworkOptimizer, "finish", spoilt)
        update = stage.update_D if which == "discriminator" else stage.update_G
        assert stage._update(0, lambda: update(batch, optimizers[which])) == {}
    after = stage.state_dict()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    assert steps == {name: {int(s["step"]) for s in o.optimizer.state.values()} for name, o in optimizers.items()}
    assert all(parameter.grad is None for parameter in stage.parameters())
    log = stage.train_step([batch], optimizers)
    assert log["skipped"].item() == 1
    assert stage.train_step([batch], optimizers)["skipped"].item() == 0
