"""I3D's files of weights: what is read, with which digest, and that nothing else is."""

import hashlib
import http.server
import pickle
import threading
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from components.features import I3D, i3d
from components.features.inception_i3d import InceptionI3d
from registry import FEATURES, InputError, use


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return InceptionI3d(400).state_dict()


@pytest.fixture(scope="module")
def state_file(state, tmp_path_factory):
    """A state dict as older ones are: without counts of batches."""
    path = tmp_path_factory.mktemp("weights") / "rgb_imagenet.pt"
    torch.save({name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}, path)
    return path


class Detector(nn.Module):
    """Answers as the usual TorchScript file does; the mean of each frame, so that a test sees what came."""

    def forward(self, x: Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False) -> Tensor:
        assert return_features
        assert not rescale
        assert not resize
        assert x.shape[1] == 3
        assert x.shape[3:] == (224, 224)
        return x.mean((1, 3, 4)).mean(1, keepdim=True).expand(x.shape[0], 400)


class Other(nn.Module):
    """Takes the same arguments and gives something else."""

    def forward(self, x: Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False) -> Tensor:
        return x.mean((2, 3, 4))


class Payload:
    """Unpickled, it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def digest_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def scripted(network, path):
    torch.jit.save(torch.jit.script(network), str(path))
    return path


@torch.no_grad()
def test_a_state_dict_from_a_file(state, state_file):
    """Its weights are those of the file, its digest is the file's, and videos of any size come to it at 224x224."""
    network = FEATURES.build(use("I3D", weights=str(state_file), digest=digest_of(state_file)))
    own = network.network.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in state.items())
    assert (network.dim, network.logits_dim, network.min_frames) == (1024, 400, 9)
    identity = network.identity()
    assert (identity["weights"], identity["random"], identity["file"]) == (digest_of(state_file), False, "state dict")
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())

    small = torch.rand(1, 9, 3, 28, 28) * 2 - 1
    large = nn.functional.interpolate(small[0], (224, 224), mode="bilinear", align_corners=False)[None]
    pooled, logits = network.network(large.transpose(1, 2))
    features = network(small)
    torch.testing.assert_close((features.pooled, features.logits), (pooled, logits))
    assert (features.pooled.shape, features.logits.shape) == ((1, 1024), (1, 400))


def test_six_hundred_classes_are_told_by_the_weights(state, tmp_path):
    """A state dict of Kinetics-600 gives 600 logits; one of another number is refused."""
    for classes in (600, 157):
        weights = {
            "logits.conv3d.weight": torch.zeros(classes, 1024, 1, 1, 1),
            "logits.conv3d.bias": torch.zeros(classes),
        }
        torch.save(dict(state) | weights, tmp_path / f"{classes}.pt")
    assert I3D(weights=str(tmp_path / "600.pt")).logits_dim == 600
    with pytest.raises(InputError, match=r"^weights: .* scores 157 classes.*; allowed: 400 or 600"):
        I3D(weights=str(tmp_path / "157.pt"))


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((1, 8, 3, 32, 32), "videos: 8 frames are fewer than I3D needs; allowed: at least 9 frames"),
        ((1, 9, 1, 32, 32), r"videos: has shape"),
        ((9, 3, 32, 32), r"videos: has shape"),
    ],
)
def test_too_short_videos_are_refused(state_file, shape, said):
    """And grey ones, and pictures; nothing is padded."""
    with pytest.raises(InputError, match=f"^{said}"):
        I3D(weights=str(state_file))(torch.zeros(shape))


def test_a_torchscript_file_whose_digest_is_given(tmp_path):
    """It is called as StyleGAN-V calls it, on frames of 224x224; what it gives is both pooled features and logits."""
    path = scripted(Detector(), tmp_path / "i3d_torchscript.pt")
    network = I3D(weights=str(path), digest=digest_of(path))
    assert (network.dim, network.logits_dim, network.min_frames) == (400, 400, 10)
    video = torch.linspace(-1, 1, 2)[:, None, None, None, None].expand(2, 10, 3, 16, 16)
    features = network(video)
    torch.testing.assert_close(features.pooled, torch.tensor([[-1.0], [1.0]]).expand(2, 400))
    torch.testing.assert_close(features.logits, features.pooled)
    assert network.identity()["file"] == "TorchScript"
    with pytest.raises(InputError, match=r"^videos: 9 frames are fewer than I3D needs; allowed: at least 10"):
        network(video[:, :9])


def test_a_torchscript_file_of_unknown_digest_runs_no_code(tmp_path, monkeypatch):
    """It is refused before it is loaded, with its digest; a file of the known digest needs none to be given."""
    path = scripted(Detector(), tmp_path / "i3d_torchscript.pt")
    with monkeypatch.context() as patch:
        patch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("it was loaded"))
        with pytest.raises(InputError, match=rf"^digest: .*TorchScript.*runs code.*{digest_of(path)}"):
            I3D(weights=str(path))
    monkeypatch.setattr(i3d, "TORCHSCRIPT", digest_of(path))
    assert I3D(weights=str(path)).dim == 400


def test_other_torchscript_files_are_refused(tmp_path):
    """Of other arguments, and of another result, though their digests are given."""
    for number, network in enumerate((nn.Conv3d(3, 1, 1), Other())):
        path = scripted(network, tmp_path / f"{number}.pt")
        with pytest.raises(InputError, match=r"^weights: .*another TorchScript file.*; allowed:") as error:
            I3D(weights=str(path), digest=digest_of(path))
        assert len(str(error.value).splitlines()) == 1


def test_pickled_code_does_not_run(tmp_path, state):
    """Neither in a file of torch's nor in a plain pickle, even with its digest given."""
    mark = tmp_path / "mark"
    torch.save({**state, "logits.conv3d.bias": Payload(mark)}, tmp_path / "torch.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Payload(mark)))
    torch.save(InceptionI3d(400), tmp_path / "module.pt")
    for name in ("torch.pt", "plain.pt", "module.pt"):
        path = tmp_path / name
        with pytest.raises(InputError, match=r"^weights: .*nothing of it was run; allowed: the state dict") as error:
            I3D(weights=str(path), digest=digest_of(path))
        assert len(str(error.value).splitlines()) == 1
    assert not mark.exists()


def test_other_files_are_refused_by_what_they_are(state, tmp_path):
    """Each in one line: another network, a tensor missing, too much, of another shape; no state dict; no weights."""
    name = "Mixed_4b.b0.bn.bias"
    cases = {
        "it lacks": {key: tensor for key, tensor in state.items() if key != name},
        "tensors more \\(extra\\)": {**state, "extra": torch.zeros(1)},
        f"{name} has shape": {**state, name: torch.zeros(3)},
        f"{name} is of type": {**state, name: torch.zeros(192, dtype=torch.int64)},
        "no InceptionI3d": nn.Linear(2, 2).state_dict(),
        "no state dict": [1, 2],
        "holds a dict, no state dict": {"state_dict": dict(state)},
    }
    for said, content in cases.items():
        torch.save(content, tmp_path / "file.pt")
        with pytest.raises(InputError, match=rf"^weights: .*{said}.*; allowed: the state dict"):
            I3D(weights=str(tmp_path / "file.pt"))
    for content in (b"", b"<html>not found</html>", b"PK\x03\x04 half a zip"):
        (tmp_path / "file.pt").write_bytes(content)
        with pytest.raises(InputError, match=r"^weights: .*file") as error:
            I3D(weights=str(tmp_path / "file.pt"))
        assert len(str(error.value).splitlines()) == 1


def test_paths_and_digests_are_checked(state_file, tmp_path):
    """A missing file, a folder, a digest that is none, and one of another file."""
    cases = [
        ({"weights": str(tmp_path / "none.pt")}, "^weights: there is no file"),
        ({"weights": str(tmp_path)}, "^weights: there is no file"),
        ({"weights": str(state_file), "digest": "abc"}, "^digest: 'abc' is no SHA-256"),
        ({"weights": str(state_file), "digest": "0" * 64}, "^weights: .* has the SHA-256 "),
        ({"weights": "https://example.org/i3d.pt"}, "^digest: is missing"),
        ({"weights": "ftp://example.org/i3d.pt", "digest": "0" * 64}, "^weights: ftp://.* is no URL"),
    ]
    for options, said in cases:
        with pytest.raises(InputError, match=said):
            I3D(**options)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Keeps what it was asked for instead of printing it."""

    def log_message(self, *_):
        self.server.asked.append(self.path)


def test_a_url_is_loaded_once_and_verified(state_file, tmp_path, monkeypatch):
    """Into torch.hub's cache; the second time nobody is asked. Of another digest, nothing is left behind."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(state_file.parent)))
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/{state_file.name}"
        with pytest.raises(InputError, match=r"^weights: .*cannot be loaded: invalid hash"):
            I3D(weights=url, digest="0" * 64)
        assert not list((tmp_path / "hub/checkpoints").iterdir())
        networks = [I3D(weights=url, digest=digest_of(state_file)) for _ in range(2)]
        assert len(server.asked) == 2
    finally:
        server.shutdown()
        server.server_close()
    assert networks[0].identity() == networks[1].identity() == I3D(weights=str(state_file)).identity()
    with pytest.raises(InputError, match=r"^weights: .*cannot be loaded: .*; allowed: a path"):
        I3D(weights=url, digest="1" * 64)
