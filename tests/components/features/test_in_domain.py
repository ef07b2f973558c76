"""Features of a trained classifier: read from an artifact that is written here by hand, and from nothing else."""

import hashlib
import json
import shutil

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from components import Clip
from components.classifiers import VideoClassifier
from components.features import InDomainFeatures
from registry import FEATURES, InputError, use
from registry.checksum import checksummed

OPTIONS = {"channels": 2, "multipliers": [1, 2]}


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder with a classifier of 8x8/4 @2 of two classes; its weights are random."""
    folder = tmp_path_factory.mktemp("run")
    artifact = folder / "classifier" / "artifact"
    artifact.mkdir(parents=True)
    torch.manual_seed(0)
    network = VideoClassifier(Clip(4, 8, 8), 2, channels=2, multipliers=(1, 2))
    save_file(network.state_dict(), artifact / "network.safetensors")
    (artifact / "spec.json").write_text("{}")
    manifest = {
        "kind": "classifier",
        "format": 2,
        "network": {"type": "VideoClassifier", "options": OPTIONS},
        "clip": {"frames": 4, "height": 8, "width": 8, "channels": 3, "stride": 2},
        "classes": ["cat", "dog"],
        "iterations": 7,
        "data": "f" * 64,
        "held_out": {"rule": "some", "clips": 8, "accuracy": 0.875, "per_class": {"cat": [3, 4], "dog": [4, 4]}},
        "digests": {name: sha256(artifact / name) for name in ("network.safetensors", "spec.json")},
        "versions": {},
    }
    (artifact / "manifest.json").write_text(json.dumps(checksummed(manifest)))
    return folder


@pytest.fixture
def artifact(run, tmp_path):
    """A copy of the artifact, to be spoilt."""
    return shutil.copytree(run / "classifier" / "artifact", tmp_path / "artifact")


def change(artifact, **changes):
    path = artifact / "manifest.json"
    path.write_text(json.dumps(checksummed({**json.loads(path.read_text()), **changes})))


@torch.no_grad()
def test_the_trained_network_gives_the_features(run, artifact):
    """From the run's folder or the artifact's; videos of another size are resized to the classifier's."""
    network = FEATURES.build(use("InDomainFeatures", path=str(run)))
    expected = VideoClassifier(Clip(4, 8, 8), 2, channels=2, multipliers=(1, 2))
    expected.load_state_dict(load_file(artifact / "network.safetensors"))
    expected.eval()
    video = torch.rand(2, 4, 3, 20, 16) * 2 - 1
    small = F.interpolate(video.flatten(0, 1), (8, 8), mode="bilinear", antialias=True).reshape(2, 4, 3, 8, 8)
    features = network(video)
    torch.testing.assert_close((features.pooled, features.logits), expected(small))
    assert (network.dim, network.logits_dim, network.min_frames, network.stride) == (4, 2, 3, 2)
    assert not network.train().training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert InDomainFeatures(path=artifact).identity() == network.identity()


def test_the_identity_names_what_it_was_trained_on(run):
    """The artifact's digest, its accuracy on clips held out, classes, clip and the store's fingerprint."""
    identity = InDomainFeatures(path=run).identity()
    assert identity == json.loads(json.dumps(identity))
    assert identity["weights"] == sha256(run / "classifier" / "artifact" / "manifest.json")
    assert (identity["random"], identity["held_out_accuracy"], identity["held_out_clips"]) == (False, 0.875, 8)
    assert identity["trained_on"] == {"store": "f" * 64, "frames": 4, "stride": 2}
    assert identity["classes"] == ["cat", "dog"]
    assert identity["resize"] == "each frame to 8x8, bilinear, antialiased"


@pytest.mark.parametrize("shape", [(1, 2, 3, 8, 8), (1, 4, 1, 8, 8), (4, 3, 8, 8)])
def test_other_videos_are_refused(run, shape):
    """Of too few frames, of other colours, pictures."""
    with pytest.raises(InputError, match=r"^videos: "):
        InDomainFeatures(path=run)(torch.zeros(shape))


def refusal(path):
    with pytest.raises(InputError) as error:
        InDomainFeatures(path=path)
    line = str(error.value)
    assert line.startswith("path: ")
    assert len(line.splitlines()) == 1
    return line


def test_where_there_is_none(run, tmp_path):
    """No folder, another folder, and a run that is not done."""
    assert "holds no classifier; allowed: a run of a classifier" in refusal(tmp_path / "none")
    (tmp_path / "run" / "classifier" / "checkpoints").mkdir(parents=True)
    assert "not trained to its end yet" in refusal(tmp_path / "run")


@pytest.mark.parametrize("name", ["network.safetensors", "spec.json"])
def test_a_tampered_artifact_is_refused(artifact, name):
    """One flipped bit, or a file that is gone."""
    path = artifact / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert f"{name} does not match the digest in its manifest" in refusal(artifact)
    path.unlink()
    assert f"{name} is missing" in refusal(artifact)


def test_other_manifests_are_refused(artifact):
    """Of a stage, of another format, without its weights, with another network's options, damaged."""
    text = (artifact / "manifest.json").read_text()
    cases = {
        "of something else than a classifier": {"kind": "stage"},
        "of another format": {"format": 1},
        "names no network.safetensors": {"digests": {}},
        "does not fit VideoClassifier": {"network": {"type": "VideoClassifier", "options": {"channels": 3}}},
        "no classifier is called 'Other'": {"network": {"type": "Other", "options": {}}},
        "is damaged (iterations": {"iterations": "many"},
    }
    for said, changes in cases.items():
        change(artifact, **changes)
        assert said in refusal(artifact)
        (artifact / "manifest.json").write_text(text)
    (artifact / "manifest.json").write_text(text.replace("0.875", "0.975"))
    assert "does not match its own checksum" in refusal(artifact)
    (artifact / "manifest.json").write_text(text[:50])
    assert "is damaged" in refusal(artifact)
