"""What a person sees of a training: the line of metrics, its text, and samples from fixed noise."""

import gc
import json
import math
import os
import sys
import weakref
from pathlib import Path

import attrs
import av
import pytest
import torch
from tiny_runs import base_stage, copy_of, run_of, two_stages

from components.clip import Clip
from framework.hooks import ProgressHook, peak_memory, release_memory, summary
from framework.run_folder import RunFolder
from framework.train_stage import build_model

LINE = {
    "loss_D": 1.23456,
    "loss_G": -0.5,
    "spatial/real": 0.517,
    "spatial/fake": -0.31,
    "grad_norm_D": 3.0,
    "lr_generator": 1e-4,
    "lr_discriminator": 5e-4,
    "clips_per_second": 12.34,
    "memory_mb": 812.4,
}
TEXT = "loss_D 1.235, loss_G -0.500, spatial +0.52/-0.31, lr 0.0001/0.0005, 12.3 clips/s, 812 MB"


def lines_of(run: RunFolder, stage: str) -> list[dict]:
    return [json.loads(line) for line in run.metrics(stage).read_text().splitlines()]


def test_a_line_has_what_a_person_asks_for(trained):
    """Losses, scores of each discriminator, norms, rates, speed and memory: all numbers, and of sensible size."""
    for stage, scores in (("base", ["temporal"]), ("full", ["spatial", "matching"])):
        names = {"iteration", "loss_D", "loss_G", "grad_norm_D", "grad_norm_G", "lr_generator", "lr_discriminator"}
        names |= {"clips_per_second", "memory_mb", *(f"{name}/{of}" for name in scores for of in ("real", "fake"))}
        for line in lines_of(trained, stage):
            assert set(line) == names
            assert all(math.isfinite(value) for value in line.values())
            assert line["lr_generator"] == line["lr_discriminator"] == 1e-2
            assert min(line["grad_norm_D"], line["grad_norm_G"], line["clips_per_second"]) > 0


def test_memory_is_that_of_the_process():
    """In MB: at least what it holds now, as Linux counts it, and no more than the machine has."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    held = int(status["VmRSS"].split()[0]) * 1024 / 1e6
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e6
    assert 0.9 * held <= peak_memory() <= machine


def test_a_stages_memory_is_free_when_the_next_begins(monkeypatch, tmp_path):
    """Although a runner and its hooks hold each other, and Python's collector happens not to run."""
    alive, networks = [], []

    def build(*arguments):
        alive.append([network() is not None for network in networks])
        model, clips = build_model(*arguments)
        networks.append(weakref.ref(model))
        return model, clips

    monkeypatch.setattr("framework.train_stage.build_model", build)
    gc.disable()
    try:
        run_of(two_stages(iterations=1), tmp_path / "run")
    finally:
        gc.enable()
    assert alive == [[], [False]]


def test_a_gpus_peak_begins_anew(monkeypatch):
    """So that a small stage after a large one does not have the large one's; blocks that nobody uses go back before."""
    called = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name in ("empty_cache", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda name=name: called.append(name))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3_000_000)
    release_memory()
    assert called == ["empty_cache", "reset_peak_memory_stats"]
    assert peak_memory() == 3


def test_rates_of_each_stage(tmp_path):
    """Learning rates in a line are those of the stage's own training."""
    experiment = two_stages(iterations=1, discriminator_lr=3e-4)
    own = base_stage(Clip(4, 4, 4, stride=2), training={"generator_lr": 2e-4})
    stages = (own, experiment.graph["full"])
    experiment = attrs.evolve(experiment, graph=attrs.evolve(experiment.graph, stages=stages))
    [line] = lines_of(run_of(experiment, tmp_path / "run", only="base"), "base")
    assert (line["lr_generator"], line["lr_discriminator"]) == (2e-4, 3e-4)


def test_the_text_of_a_line():
    """Each score as real/fake; what was skipped only where something was."""
    assert summary(LINE) == TEXT
    assert "skipped 0.25, lr" in summary({**LINE, "skipped": 0.25})
    assert "skipped" not in summary({**LINE, "skipped": 0.0})


@pytest.mark.parametrize(("first", "left"), [(0, "15:00"), (25, "30:00")])
def test_in_a_log_file(capsys, monkeypatch, first, left):
    """A plain line with the stage, how far it is, and the time left at the pace since training was taken up."""
    hook = ProgressHook("mid", first, 500)
    monkeypatch.setattr(hook._bar, "_time", lambda: hook._bar.start_t + 100)
    hook.show(50, LINE)
    hook.close()
    assert capsys.readouterr().err == f"mid 50/500: {TEXT}, {left} left\n"


def test_on_a_terminal(capsys, monkeypatch):
    """The bar carries the metrics, beside the count, the rate and the time left; it begins where training does."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "250")
    hook = ProgressHook("mid", 100, 500)
    hook.show(101, LINE)
    hook._bar.refresh()
    hook.close()
    drawn = capsys.readouterr().err.split("\r")
    assert any("train mid" in each and "100/500" in each and TEXT in each for each in drawn)
    assert not any("mid 101/500" in each for each in drawn)


def test_films_show_what_pictures_show(trained):
    """At an interval, one of each; a film's frames are as many as the whole clip has, and it moves."""
    for path in sorted(trained.samples("full").glob("*.mp4")):
        with av.open(str(path)) as film:
            frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
        assert len(frames) == 8
        assert any((frames[0] != frame).any() for frame in frames[1:])
        assert path.with_suffix(".png").is_file()


def test_samples_come_from_the_same_noise(trained, tmp_path):
    """Drawn once more from the same weights, by a run that is taken up, a picture and a film are the same bytes."""
    run = copy_of(trained, tmp_path / "run")
    for manifest in run.checkpoints("base").glob("iter_00000004.*"):
        manifest.unlink()
    for name in ("manifest.json", "spec.json", "generator.safetensors"):
        (run.artifact("base") / name).unlink()
    run.artifact("base").rmdir()
    kept = {path.name: path.read_bytes() for path in run.samples("base").iterdir()}
    for name in kept:
        (run.samples("base") / name).write_bytes(b"")
    run_of(two_stages(samples=3), run.path, only="base")
    for name in ("iter_00000004.png", "iter_00000004.mp4"):
        assert (run.samples("base") / name).read_bytes() == kept[name]
