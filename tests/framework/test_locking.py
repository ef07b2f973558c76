"""One process at a time: others wait, or are refused, and nobody's work is lost."""

import multiprocessing

import pytest

from framework.figures import Record, add_figures, read_figures
from framework.generate import generate
from framework.locking import locked
from framework.request import Request
from registry import InputError

FORK = multiprocessing.get_context("fork")


def held(path, ready, done) -> None:
    with locked(path, wait=False):
        ready.set()
        done.wait(30)


def add_some(path, first) -> None:
    for number in range(first, first + 10):
        add_figures(path, [Record(metric=f"m{number}", value=number)])


@pytest.fixture
def holder(tmp_path):
    """Another process that is in there until it is told to leave; and the path."""
    ready, done = FORK.Event(), FORK.Event()
    path = tmp_path / "out" / "tiny_base"
    path.parent.mkdir()
    process = FORK.Process(target=held, args=(path, ready, done))
    process.start()
    assert ready.wait(30)
    yield path, done
    done.set()
    process.join()


def test_the_second_is_refused(holder, trained):
    """Two that generate into the same files would write into each other's; the second one writes nothing."""
    path, done = holder
    before = sorted(path.parent.iterdir())
    with pytest.raises(InputError, match=r"tiny_base: another process is writing it; allowed: another --out, or later"):
        generate(trained.path, Request(stage="base", count=1, formats=("png",)), path.parent)
    assert sorted(path.parent.iterdir()) == before
    done.set()
    with locked(path, wait=True):  # until the other one has left
        assert [each.name for each in path.parent.iterdir()] == ["tiny_base.lock"]
    generate(trained.path, Request(stage="base", count=1, formats=("png",)), path.parent)
    assert sorted(each.name for each in path.parent.iterdir()) == ["tiny_base.json", "tiny_base.png"]


def test_no_figure_is_lost(tmp_path):
    """Four processes add ten figures each to one file."""
    path = tmp_path / "evaluation" / "figures.jsonl"
    processes = [FORK.Process(target=add_some, args=(path, 10 * number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert sorted(int(record.value) for record in read_figures(path)[0]) == list(range(40))
    assert [each.name for each in path.parent.iterdir()] == ["figures.jsonl"]
