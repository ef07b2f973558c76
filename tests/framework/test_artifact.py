"""Artifacts: what a stage leaves behind comes back as it was, or is refused by name."""

import json
import shutil

import attrs
import pytest
import torch
from stage_makers import ready
from tiny_runs import GENERATOR, copy_of, flip_byte, run_of, two_stages

from framework import artifact as module
from framework import dump, load, tensor_file, use
from framework.artifact import load_cascade, load_link, read_manifest, save_artifact
from framework.build import build_generator
from framework.checkpoint import file_digest
from registry import InputError
from registry.checksum import checksummed

EXPERIMENT = two_stages()


@pytest.fixture(scope="module")
def generators():
    """Both stages' generators, with statistics of their whole clips."""
    torch.manual_seed(0)
    graph = EXPERIMENT.graph
    low = {"base": None, "full": graph["base"].clip}
    return {
        stage.name: ready(build_generator(graph, stage), stage.clip.frames, low[stage.name], graph.classes).eval()
        for stage in graph.stages
    }


def save(folder, generators, stage="base", source=None) -> None:
    facts = {
        "stage": stage,
        "iterations": 4,
        "statistics_frames": EXPERIMENT.graph[stage].clip.frames,
        "data": "f",
        "statistics_passes": 3,
        "statistics_batch": 4,
        "classes": ("a", "b", "c", "d"),
        "class_counts": (1, 2, 3, 4),
    }
    save_artifact(folder / stage, EXPERIMENT, generators[stage], **facts, source=source)


@pytest.fixture
def saved(tmp_path, generators):
    """The folder of the two artifacts."""
    save(tmp_path, generators)
    save(tmp_path, generators, "full", tmp_path / "base")
    return tmp_path


def load_both(folder, name="full"):
    return load_cascade({stage: folder / stage for stage in ("base", "full")}, EXPERIMENT, name)


@torch.no_grad()
def test_round_trip(saved, generators):
    """Loaded generators make the very videos that the saved ones make, at the whole length."""
    cascade = load_both(saved)
    noise, y = cascade.noise(3), torch.tensor([0, 3, 1])
    videos = cascade.videos(noise, y)
    base = generators["base"](noise[0], y)
    assert torch.equal(videos["base"], base)
    torch.testing.assert_close(videos["full"], generators["full"](noise[1], y, base))
    assert [link.clip for link in cascade.links] == [stage.clip for stage in EXPERIMENT.graph.stages]


def test_what_an_artifact_says(saved):
    """Its manifest has the facts, the digests of the files beside it, and of its source; its spec is the run's."""
    manifest = read_manifest(saved / "full")
    assert (manifest.stage, manifest.iterations, manifest.classes) == ("full", 4, ("a", "b", "c", "d"))
    assert manifest.digests == {
        name: file_digest(saved / "full" / name) for name in ("generator.safetensors", "spec.json")
    }
    assert manifest.source == file_digest(saved / "base/manifest.json")
    assert set(manifest.versions) >= {"torch", "numpy"}
    assert load((saved / "full/spec.json").read_text()) == EXPERIMENT


def test_the_manifest_is_written_last(tmp_path, generators, monkeypatch):
    """Whatever fails on the way, no artifact is there; when the manifest is written the files it lists are whole."""
    original = module.write_whole

    def look(path, text):
        if path.name == "manifest.json":
            digests = json.loads(text)["digests"]
            assert digests == {name: file_digest(path.parent / name) for name in digests}
            raise OSError(28, "No space left on device")
        original(path, text)

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_whole", look)
        with pytest.raises(OSError, match="No space left"):
            save(tmp_path, generators)
    assert not (tmp_path / "base").exists()
    save(tmp_path, generators)
    assert read_manifest(tmp_path / "base").stage == "base"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base"]


@pytest.mark.parametrize("stage", ["base", "full"])
@pytest.mark.parametrize("file", ["generator.safetensors", "spec.json"])
def test_damaged_and_missing_files_are_named(saved, stage, file):
    """A flipped bit anywhere in a file of any stage, or a missing file, is an error with the file's path."""
    path = saved / stage / file
    for place in (0, path.stat().st_size // 2, -1):
        flip_byte(path, place)
        with pytest.raises(InputError, match="does not match the digest") as caught:
            load_both(saved)
        assert str(caught.value).startswith(f"{path}: ")
        flip_byte(path, place)
    load_both(saved)
    path.unlink()
    with pytest.raises(InputError, match="is missing from the artifact") as caught:
        load_both(saved)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b'{"format": 3}', b'{"format": 1}'])
def test_a_damaged_manifest_is_named(saved, content):
    """Whatever stands in a manifest, it is an error that begins with its path, not a traceback."""
    path = saved / "base/manifest.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_both(saved)
    assert all(str(problem).startswith(str(path)) for problem in caught.value.problems)


def test_a_missing_artifact_is_named(saved):
    """A stage without an artifact cannot be loaded; the stages before it can."""
    shutil.rmtree(saved / "full")
    with pytest.raises(InputError, match=f"^{saved}/full: there is no finished artifact"):
        load_both(saved)
    assert len(load_both(saved, "base").links) == 1


def test_another_source_is_refused(saved, generators):
    """A source that was trained again, were it by one iteration, is not what the stage stands on."""
    shutil.rmtree(saved / "base")
    weight = next(generators["base"].parameters())
    with torch.no_grad():
        weight += 1e-3
        save(saved, generators)
        weight -= 1e-3
    with pytest.raises(InputError, match=f"^{saved}/full: was trained on another artifact than the one in .*/base"):
        load_both(saved)


def test_another_stages_artifact_is_refused(saved):
    """An artifact in another stage's place is told apart by its name."""
    shutil.rmtree(saved / "full")
    shutil.copytree(saved / "base", saved / "full")
    with pytest.raises(InputError, match=f"^{saved}/full: is the artifact of stage 'base', not of 'full'"):
        load_both(saved)


def change(folder, **facts) -> None:
    """Another fact in a manifest."""
    path = folder / "manifest.json"
    path.write_text(json.dumps(checksummed({**json.loads(path.read_text()), **facts})))


def respecify(saved, stage, experiment) -> None:
    """Another spec in an artifact without a source, its digest right."""
    (saved / stage / "spec.json").write_text(dump(experiment))
    digests = read_manifest_unchecked(saved / stage)["digests"]
    change(saved / stage, digests={**digests, "spec.json": file_digest(saved / stage / "spec.json")}, source=None)


def read_manifest_unchecked(folder) -> dict:
    return json.loads((folder / "manifest.json").read_text())


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (attrs.evolve(EXPERIMENT, seed=9), "seed is 9 there, 0 here"),
        (two_stages(iterations=5), "training.iterations is 5 there, 4 here"),
        (
            attrs.evolve(EXPERIMENT, data=use("SyntheticClips", clips=9, frames=10, size=8)),
            "data.options.clips is 9 there,",
        ),
    ],
)
def test_an_artifact_of_another_spec_is_refused(saved, other, difference):
    """Whole and of the right stage, but trained by another spec: the first difference is said, in one line."""
    respecify(saved, "base", other)
    with pytest.raises(InputError) as caught:
        load_both(saved, "base")
    assert str(caught.value).startswith(f"{saved}/base: was trained by another spec ({difference}")
    assert "\n" not in str(caught.value)


def test_an_artifact_of_other_data_is_refused(trained, tmp_path):
    """An artifact in a run folder is of the data that the run is on."""
    run = copy_of(trained, tmp_path / "run")
    load_cascade(run.artifacts(EXPERIMENT), EXPERIMENT, "full")
    change(run.artifact("base"), data="0123456789abcdef")
    with pytest.raises(InputError, match=f"^{run.artifact('base')}: was trained on other data .fingerprint 012345678"):
        load_cascade(run.artifacts(EXPERIMENT), EXPERIMENT, "base")


def test_statistics_of_another_length_are_refused(saved):
    """Standing statistics belong to a length, which is to be that of the stage's clip."""
    change(saved / "base", statistics_frames=5)
    with pytest.raises(InputError, match=f"^{saved}/base: has statistics of 5 frames, the stage's clip has 4"):
        load_both(saved, "base")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_becomes_no_artifact(tmp_path, generators, value):
    """Statistics can overflow after the last checkpoint; nothing of it is written."""
    name, buffer = next((name, b) for name, b in generators["base"].named_buffers() if name.endswith("running_var"))
    kept = buffer.clone()
    buffer.view(-1)[0] = value
    try:
        with pytest.raises(InputError, match=f"base: is not written: {name} is not finite"):
            save(tmp_path, generators)
    finally:
        buffer.copy_(kept)
    assert list(tmp_path.iterdir()) == []


def test_weights_are_on_the_disk_before_their_digest(tmp_path, generators, monkeypatch):
    """A power cut leaves no manifest of weights that were never written out, nor a folder that was never named."""
    done = []
    for place, name in ((tensor_file, "sync"), (module, "sync"), (module, "file_digest")):
        original = getattr(place, name)
        monkeypatch.setattr(
            place, name, lambda path, name=name, original=original: (done.append((name, path.name)), original(path))[1]
        )
    save(tmp_path, generators)
    assert done.index(("sync", "generator.safetensors")) < done.index(("file_digest", "generator.safetensors"))
    assert done[-1] == ("sync", tmp_path.name)


def test_an_artifact_of_other_widths_is_refused(saved):
    """Where a spec was changed behind an artifact's back, the error names the weights' file in one line."""
    other = two_stages(full={"generator": use("UpsamplingGenerator", **{**GENERATOR, "channels": 3})})
    shutil.rmtree(saved / "base")
    respecify(saved, "full", other)
    with pytest.raises(InputError, match=f"^{saved}/full/generator.safetensors: does not fit") as caught:
        load_link(saved / "full", other, other.graph["full"], None)
    assert "\n" not in str(caught.value)


def test_a_chain_from_two_runs_is_refused(trained, tmp_path):
    """A base of another run of the same spec, another seed, does not pass as this run's."""
    other = run_of(attrs.evolve(EXPERIMENT, seed=9), tmp_path / "other", only="base")
    run = copy_of(trained, tmp_path / "run")
    shutil.rmtree(run.artifact("base"))
    shutil.copytree(other.artifact("base"), run.artifact("base"))
    with pytest.raises(InputError, match=r"another spec \(seed is 9 there, 0 here\)"):
        load_cascade(run.artifacts(EXPERIMENT), EXPERIMENT, "full")


def test_a_full_disk_is_an_error_in_one_line(tmp_path, generators):
    """The weights' writer has errors of its own kind; what the user sees names the file and the disk's complaint."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"generator.safetensors.*File too large"):
            save(tmp_path, generators)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (tmp_path / "base").exists()
