"""Training on a bank of stored source videos: what is in it, what is read of it, and what becomes of other banks."""

import os
import shutil
import signal
from pathlib import Path

import attrs
import numpy as np
import pytest
import torch
from ranks import results
from same_end import assert_same_end
from stage_makers import RandomClips, make_batch, make_stage
from tiny_runs import QUICK, base_stage, copy_of, flip_byte, last_checkpoint, run_of, two_stages, upsampling_stage

from components import ranks
from components.clip import Clip, Span
from datasets import ClipStore, DamagedStoreError
from framework import StageGraph, make_bank, prefix_bank
from framework.adversarial_stage import AdversarialStage
from framework.artifact import manifest_digest
from framework.bank_room import refuse_banks
from framework.cascade import Cascade
from framework.make_bank import About, bank_noise, stands, suspect, write_bank
from framework.prefix_bank import PrefixBank
from framework.randomness import generator_at
from framework.run_folder import RunFolder
from framework.runner import make_optimizers
from framework.stage_data import StageClips
from registry import InputError
from registry.errors import Stopped

CPU = torch.device("cpu")
VIDEOS, CLASSES = 6, 3
ABOUT = About(videos=VIDEOS, seed=5, stage="top", artifact="a", data="d")
EXPERIMENT = two_stages(prefix_bank=VIDEOS)


def graph_of(classes: int | None) -> StageGraph:
    """Three stages: the bank of the last one holds videos of a stage that upsamples itself."""
    stages = [
        base_stage(Clip(4, 4, 4, stride=4)),
        upsampling_stage("mid", "base", Clip(8, 8, 8, stride=2)),
        upsampling_stage("top", "mid", Clip(16, 16, 16), window=8),
    ]
    return StageGraph(clip=Clip(16, 16, 16), classes=classes, stages=stages)


@pytest.fixture(params=[CLASSES, None], ids=["conditional", "unconditional"])
def banked(request, tmp_path) -> AdversarialStage:
    """The last stage on a bank whose videos are of classes 2, 1, 0, 2, 1, 0."""
    stage, conditional = make_stage(graph_of(request.param), "top").train(), request.param is not None
    labels = torch.arange(VIDEOS - 1, -1, -1) % CLASSES if conditional else None
    classes = ("a", "b", "c") if conditional else None
    write_bank(tmp_path / "bank.zarr", stage.sources, ABOUT, labels, classes, batch=4)
    stage.prefix = PrefixBank(ClipStore(str(tmp_path / "bank.zarr")), 4, CPU, conditional=conditional)
    return stage


def labels_of(stage: AdversarialStage, videos: torch.Tensor) -> torch.Tensor | None:
    return 2 - videos % CLASSES if stage.data.conditional else None


def test_windows_are_those_of_the_live_prefix(banked):
    """Of the same noise, any video at any place: each value within 1/255 of what the frozen stages compute."""
    seen = set()
    for _ in range(8):
        latents = banked.draw(5)
        x_l, y = banked.prefix.windows(latents, torch.tensor([1] * 5))
        for row, (video, start) in enumerate(zip(*(each.tolist() for each in latents.of_sources), strict=True)):
            label = labels_of(banked, torch.tensor([video]))
            noise = bank_noise(banked.sources, ABOUT, [video])
            live = banked.sources.frames(noise, label, Span(start, start + 4, 8))[0]
            assert x_l[row].shape == live.shape == (4, 3, 8, 8)
            assert (x_l[row] - live).abs().max() <= 1 / 255 + 1e-5
            assert live.std() > 1e-2
            assert (y is None) is (label is None)
            assert y is None or y[row] == label
            seen.add((video, start))
    assert {video for video, _ in seen} == set(range(VIDEOS))
    assert {start for _, start in seen} == set(range(5))


def test_a_step_is_made_of_the_bank(banked, monkeypatch):
    """Generator and discriminators get the windows and classes that were read, and no frozen stage runs."""
    monkeypatch.setattr(Cascade, "frames", lambda *_: pytest.fail("computed"))
    read, windows = [], banked.prefix.windows
    monkeypatch.setattr(banked.prefix, "windows", lambda *args: (read.append(windows(*args)), read[-1])[1])
    generated, judged = [], []
    banked.generator.register_forward_pre_hook(lambda module, args: generated.append(args[1:]))
    banked.discriminators["matching"].register_forward_pre_hook(lambda module, args: judged.append(args[1:]))
    classes = CLASSES if banked.data.conditional else None
    batches = [make_batch(Clip(8, 16, 16), 4, classes, seed) for seed in (1, 2)]
    banked.train_step(batches, make_optimizers(banked, QUICK))
    assert len(read) == len(generated) == len(judged) == 3
    for (x_l, y), (given_y, given), (judged_y, of_both), batch in zip(
        read, generated, judged, [*batches, None], strict=True
    ):
        assert torch.equal(given, x_l)
        assert torch.equal(of_both[-4:], x_l)
        assert given_y is y
        if batch is not None:
            assert len(of_both) == 8
            assert y is None or judged_y.tolist() == batch["label"].tolist() + y.tolist()


def test_parts_of_a_batch_are_read_by_themselves(banked):
    """Cut as ``clips_per_gpu`` cuts it, a batch has the same windows and classes."""
    latents = banked.draw(4)
    whole, y = banked.prefix.windows(latents, None)
    parts = [banked.prefix.windows(latents[slice(start, start + 2)], None) for start in (0, 2)]
    assert torch.equal(torch.cat([x_l for x_l, _ in parts]), whole)
    assert y is None or torch.equal(torch.cat([part for _, part in parts]), y)


def test_a_larger_bank_begins_like_a_smaller_one(tmp_path):
    """Video k is a function of seed, stage and k; batches may be cut anywhere, to a rounding of one value."""
    stage = make_stage(graph_of(None), "top")
    stores = []
    for count, batch, changes in ((3, 2, {}), (5, 5, {}), (3, 3, {"seed": 6}), (3, 3, {"stage": "other"})):
        path = tmp_path / f"{len(stores)}.zarr"
        write_bank(path, stage.sources, attrs.evolve(ABOUT, videos=count, **changes), None, None, batch)
        stores.append(ClipStore(str(path)))
    small, large, seed, name = ([store.window(k, 0, 8).astype(int) for k in range(3)] for store in stores)
    assert np.abs(np.stack(small) - np.stack(large)).max() <= 1
    assert all(np.abs(one - other).max() > 1 for one in small for other in (*seed, *name))
    assert all(np.abs(small[i] - small[j]).max() > 1 for i, j in ((0, 1), (1, 2)))


def draws(batch: int = 4) -> list[torch.Tensor]:
    """What a rank draws of a bank."""
    store = type("Store", (), {"frames": lambda *_: 9, "label": lambda *_: None, "__len__": lambda _: 100})()
    torch.manual_seed(3)
    drawn, window = PrefixBank(store, 4, CPU, conditional=False).draw(batch)
    assert window is None
    return [each.numpy() for each in drawn]


def test_draws_are_those_of_the_whole_batch(tmp_path):
    """Shares of three ranks, interleaved, are what one process draws, so that a clip meets the same window."""
    shares, whole = results(draws, 3, tmp_path), draws(12)
    for index in range(2):
        mixed = np.stack([share[index] for share in shares], axis=1).reshape(-1)
        assert mixed.tolist() == whole[index].tolist()


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    """A run on a bank that nothing befell. Copy it before touching it."""
    return run_of(EXPERIMENT, tmp_path_factory.mktemp("bank") / "run")


def unfinished(run: RunFolder, folder: Path) -> RunFolder:
    """A copy of ``run`` whose second stage is not done, taken back to the middle of its iterations."""
    copy = copy_of(run, folder)
    shutil.rmtree(copy.artifact("full"))
    for path in copy.checkpoints("full").glob("iter_00000004*"):
        path.unlink()
    return copy


def manifest_of(run: RunFolder):
    return ClipStore(str(run.bank("full"))).manifest


def test_what_a_run_keeps(run, trained):
    """The bank says what it is of, has the data's mix of classes, and is no part of the artifact."""
    manifest, graph = manifest_of(run), EXPERIMENT.graph
    digest = manifest_digest(run.artifact("base"))
    assert manifest.request == {
        "videos": 6, "seed": 0, "stage": "full", "artifact": digest, "data": manifest.request["data"]
    }  # fmt: skip
    assert (manifest.settings.height, manifest.settings.stride, manifest.frames) == (4, 2, VIDEOS * 4)
    files = [
        sorted(str(path.relative_to(each.artifact("full"))) for path in each.artifact("full").rglob("*"))
        for each in (run, trained)
    ]
    assert files[0] == files[1]
    data = RandomClips([10] * 8, graph.clip, 4)
    data.label = lambda clip: 3
    only = StageClips(data, graph, make_stage(graph, "full").data, 0).labels(VIDEOS, generator_at(0))
    assert only.tolist() == [3] * VIDEOS


def test_it_is_another_run_than_a_live_one(run, trained, tmp_path):
    """The base is the same, the second stage is not; and the field cannot change on the way."""
    assert (last_checkpoint(run, "base")["model"]["generator.trunk.to_pixels.bias"]).equal(
        last_checkpoint(trained, "base")["model"]["generator.trunk.to_pixels.bias"]
    )
    names = ("loss_D", "loss_G")
    ours, theirs = (last_checkpoint(each, "full")["metrics"]["latest"] for each in (run, trained))
    assert all(ours[name] != theirs[name] for name in names)
    for other in (None, 7):
        with pytest.raises(InputError, match=r"another spec \(training\.prefix_bank is 6 there, (null|7) here\)"):
            run_of(two_stages(prefix_bank=other), copy_of(run, tmp_path / str(other)).path)


def test_cut_off_and_taken_up(run, tmp_path, monkeypatch):
    """Ended amid the second stage, the run ends in the same bits; the bank is not made twice."""
    step, calls, made = AdversarialStage.train_step, [], []

    def counting(*args, **kwargs):
        calls.append(1)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return step(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(AdversarialStage, "train_step", counting)
        with pytest.raises(KeyboardInterrupt):
            run_of(EXPERIMENT, tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(prefix_bank, "write_bank", lambda *_: made.append(1))
        assert_same_end(run_of(EXPERIMENT, tmp_path / "run"), run)
    assert made == []


def made_by(monkeypatch) -> list[list[int]]:
    """The numbers of the videos of each batch that is generated from here on."""
    noise, made = make_bank.bank_noise, []
    monkeypatch.setattr(make_bank, "bank_noise", lambda *args: (made.append(list(args[2])), noise(*args))[1])
    return made


@pytest.mark.parametrize("damage", ["cut", "no shard", "no manifest", "a folder", "another", "half made"])
def test_what_is_no_whole_bank_is_made_anew(run, tmp_path, capsys, monkeypatch, damage):
    """It is named with what is wrong, whole shards are kept, and the run ends in the same bits as if nothing befell."""
    copy = unfinished(run, tmp_path / "run")
    bank, shard = copy.bank("full"), copy.bank("full") / "levels/0/c/0/0/0/0"
    made = made_by(monkeypatch)
    if damage == "cut":
        os.truncate(shard, 50)
        said = "levels/0/c/0/0/0/0 is cut short or damaged"
    elif damage == "no shard":
        shard.unlink()
        said = "levels/0/c/0/0/0/0 is missing"
    elif damage == "no manifest":
        (bank / "manifest.json").unlink()
        said = "this store is unfinished"
    elif damage == "a folder":
        shutil.rmtree(bank)
        bank.mkdir()
        said = "this is not a clip store"
    elif damage == "half made":
        bank.rename(bank.with_name("bank.zarr.partial"))
        said = ""
    else:
        stage = make_stage(EXPERIMENT.graph, "full")
        about = About(videos=VIDEOS, seed=0, stage="full", artifact="another", data="d")
        write_bank(bank, stage.sources, about, torch.zeros(VIDEOS, dtype=int), list("abcd"), 2)
        said = "is the bank of something else (artifact 'another', not '"
    made.clear()
    assert_same_end(run_of(EXPERIMENT, copy.path), run)
    told = [line for line in capsys.readouterr().err.splitlines() if "bank.zarr" in line]
    in_part = damage in ("cut", "no shard")
    if said:
        [line] = told
        assert line.startswith(f"note: {bank}: {said}")
        assert line.endswith(f"; {'what is damaged' if in_part else 'it'} is made anew")
    assert made == ([[0, 1, 2, 3]] if in_part else [[0, 1, 2, 3], [4, 5]])
    assert manifest_of(copy) == manifest_of(run)
    assert sorted(path.name for path in copy.stage("full").iterdir()) == sorted(
        path.name for path in run.stage("full").iterdir()
    )


def test_damage_amid_training(run, tmp_path, capsys, monkeypatch):
    """A chunk is held against its checksum when it is first read; the next start makes that shard anew, and no other.

    Before, with every shard in place, nothing of them is read.
    """
    copy = unfinished(run, tmp_path / "run")
    bank = copy.bank("full")
    flip_byte(bank / "levels/0/c/0/0/0/0", 100)
    with pytest.raises(DamagedStoreError, match=r"bank\.zarr/levels/0/c/0/0/0/0: is damaged: chunk 0 .*needs it$"):
        run_of(EXPERIMENT, copy.path)
    assert suspect(bank).exists()
    assert "bank" not in capsys.readouterr().err
    made = made_by(monkeypatch)
    assert_same_end(run_of(EXPERIMENT, copy.path), run)
    line = f"note: {bank}: levels/0/c/0/0/0/0 is damaged in 1 chunks; what is damaged is made anew\n"
    said = capsys.readouterr()
    assert line in said.err
    assert "full: carrying on with a bank of 6 source videos, 2 of them are there\n" in said.out
    assert made == [[0, 1, 2, 3]]
    assert manifest_of(copy) == manifest_of(run)
    assert not suspect(bank).exists()


def test_damage_that_was_none(run, tmp_path, capsys):
    """A bank that was suspected, and in which every byte is as it was written, stands, and is suspected no more."""
    copy = copy_of(run, tmp_path / "run")
    bank = copy.bank("full")
    suspect(bank).touch()
    assert stands(bank, About(**ClipStore(str(bank)).manifest.request))
    assert not suspect(bank).exists()
    assert capsys.readouterr().err == ""


def test_stopped_while_it_is_made(run, tmp_path, monkeypatch, capsys):
    """By a signal in its first batch: the same command makes the rest, and ends in the same bits."""
    noise, made = make_bank.bank_noise, []

    def telling(*args):
        made.append(list(args[2]))
        if len(made) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return noise(*args)

    monkeypatch.setattr(make_bank, "bank_noise", telling)
    with pytest.raises(Stopped) as stopped:
        run_of(EXPERIMENT, tmp_path / "run")
    assert "the bank of full" in stopped.value.line
    assert [path.name for path in (tmp_path / "run" / "full").iterdir()] == ["bank.zarr.partial"]
    said = capsys.readouterr().out
    path = tmp_path / "run/full/bank.zarr"
    assert f"full: making a bank of 6 source videos of 4x4/4 @2, 0.0 MB, in {path}\n" in said
    copy = run_of(EXPERIMENT, tmp_path / "run")
    assert_same_end(copy, run)
    assert made == [[0, 1, 2, 3], [4, 5]]
    said = capsys.readouterr().out
    assert "full: carrying on with a bank of 6 source videos, 4 of them are there\n" in said
    assert f"full: making a bank of 2 source videos of 4x4/4 @2, 0.0 MB, in {path}\n" in said
    assert f"full: the bank {path} (0.0 MB) is not needed any more, and can be deleted\n" in said
    assert manifest_of(copy) == manifest_of(run)


@pytest.mark.parametrize("own", [False, True])
def test_a_disk_without_room_is_refused(run, tmp_path, monkeypatch, own):
    """One line that says what would fit, at the field that asks for it; nothing is written."""
    copy = copy_of(run, tmp_path / "run")
    for name in ("artifact", "checkpoints", "bank.zarr"):
        shutil.rmtree(copy.stage("full") / name)
    experiment = two_stages(full={"training": {"prefix_bank": 6}}) if own else EXPERIMENT
    usage = shutil.disk_usage(tmp_path)._replace(free=500)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    where = "graph.stages.full.training.prefix_bank" if own else "training.prefix_bank"
    if own:
        shutil.rmtree(copy.path)
        run_of(experiment, copy.path, only="base")
    before = sorted(copy.path.rglob("*"))
    with pytest.raises(InputError) as refused:
        run_of(experiment, copy.path)
    assert str(refused.value) == (
        f"{where}: 6 source videos of 4x4/4 @2, 0.0 MB, are more than the 0.0 MB free in "
        f"{copy.path if own else copy.stage('full')}; allowed: at most 2"
    )
    assert sorted(copy.path.rglob("*")) == before


@pytest.mark.parametrize(
    ("videos", "megabytes"),
    [(9 * 10**11, "172,800,000.0"), (10**400, f"{192 * 10**394:,}.0")],
    ids=["large", "no float"],
)
def test_an_absurd_bank_is_refused_before_the_first_stage(tmp_path, monkeypatch, videos, megabytes):
    """By arithmetic alone, whatever is asked for, in the folder that the run's is to be made in."""
    usage = shutil.disk_usage(tmp_path)._replace(free=10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InputError) as refused:
        run_of(two_stages(prefix_bank=videos), tmp_path / "new" / "run")
    assert str(refused.value) == (
        f"training.prefix_bank: {videos} source videos of 4x4/4 @2, {megabytes} MB, are more than the 1,000.0 MB free "
        f"in {tmp_path}; allowed: at most {10**9 // (4 * 3 * 4 * 4)}"
    )
    assert list(tmp_path.iterdir()) == []


def test_banks_share_the_disk(tmp_path, monkeypatch):
    """Each of two banks fits, both do not; what is made of the first already takes no more, unless it is put aside."""
    experiment = attrs.evolve(EXPERIMENT, graph=graph_of(None), training=attrs.evolve(QUICK, prefix_bank=6))
    first, second = 6 * 4 * 3 * 4 * 4, 6 * 8 * 3 * 8 * 8
    run, stages, free = RunFolder(tmp_path / "run"), experiment.graph.order(), [first + second]
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free[0]))
    refuse_banks(run, experiment, stages, restart=False)
    free[0] -= 1
    with pytest.raises(InputError, match=r"MB free in \S+ beside the banks of earlier stages .*; allowed: at most 5$"):
        refuse_banks(run, experiment, stages, restart=False)
    refuse_banks(run, experiment, [stages[0], stages[2]], restart=False)
    made = run.stage("mid") / "bank.zarr.partial" / "shard"
    made.parent.mkdir(parents=True)
    made.write_bytes(bytes(first // 2))
    refuse_banks(run, experiment, stages, restart=False)
    with pytest.raises(InputError, match="beside the banks of earlier stages"):
        refuse_banks(run, experiment, stages, restart=True)


def trained_on_a_bank(folder: Path) -> list[list[int]]:
    """What this rank has generated of the bank."""
    noise, made = make_bank.bank_noise, []
    make_bank.bank_noise = lambda *args: (made.append(list(args[2])), noise(*args))[1]
    torch.optim.Adam = lambda *args, **options: Adam(*args, eps=1e-4, **options)
    run_of(EXPERIMENT, folder, only="full")
    return made


Adam = torch.optim.Adam


def test_two_ranks_train_like_one(run, tmp_path):
    """The same weights to rounding after four iterations, on the same bank, which each rank has made a part of."""
    shares = []
    for world in (1, 2):
        copy = copy_of(run, tmp_path / f"run{world}")
        shutil.rmtree(copy.stage("full"))
        shares.append(results(trained_on_a_bank, world, tmp_path / f"ranks{world}", copy.path))
    assert shares == [[[[0, 1, 2, 3], [4, 5]]], [[[0, 1, 2, 3]], [[4, 5]]]]
    one, two = (RunFolder(tmp_path / f"run{world}") for world in (1, 2))
    assert manifest_of(one) == manifest_of(two) == manifest_of(run)
    begun = make_stage(EXPERIMENT.graph, "full")
    moved = 0.0
    weights = [last_checkpoint(each, "full")["model"] for each in (one, two)]
    for name, _ in begun.named_parameters():
        torch.testing.assert_close(weights[1][name], weights[0][name], rtol=2e-2, atol=2e-3)
        moved = max(moved, float((weights[0][name] - begun.state_dict()[name]).abs().max()))
    assert moved > 1e-2
    assert ranks.world() == 1


def test_a_bank_stands_only_for_what_it_is_of(tmp_path, capsys):
    """Number, seed, stage, source and data each make another bank."""
    stage, path = make_stage(graph_of(None), "top"), tmp_path / "bank.zarr"
    assert not stands(path, ABOUT)
    write_bank(path, stage.sources, ABOUT, None, None, 3)
    assert stands(path, ABOUT)
    assert capsys.readouterr().err == ""
    for field, value in (("videos", 7), ("seed", 1), ("stage", "x"), ("artifact", "b"), ("data", "e")):
        assert not stands(path, attrs.evolve(ABOUT, **{field: value}))
        line = capsys.readouterr().err
        assert f"is the bank of something else ({field} {getattr(ABOUT, field)!r}, not {value!r})" in line
