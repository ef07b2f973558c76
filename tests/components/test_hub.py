"""Weights on the Hub: asked for only where somebody answers, or where they are in the cache."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import huggingface_hub
import pytest

from components.features import TimmFeatures
from components.torchvision_cpu import ensure_torchvision_imports
from registry import InputError

ensure_torchvision_imports()
import timm  # noqa: E402


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty cache, and an address of this machine at which nobody answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    return address


def test_without_a_network_nothing_is_tried_for_long(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client, which would try again and again, is not asked; the line says who did not answer."""
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: pytest.fail("the client was asked"))
    with pytest.raises(InputError, match=f"^pretrained: .* {hub} cannot be reached .Connection refused") as error:
        TimmFeatures(backbone="test_convnext", pretrained=True)
    assert len(str(error.value).splitlines()) == 1


def test_cached_weights_need_no_network(hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the cache holds is left to the client, which finds it there."""
    asked = []
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: asked.append(1) or 1 / 0)
    repository = tmp_path / "models--timm--test_convnext.r160_in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    (repository / "snapshots" / ("0" * 40)).mkdir(parents=True)
    (repository / "snapshots" / ("0" * 40) / "model.safetensors").touch()
    with pytest.raises(ZeroDivisionError):
        TimmFeatures(backbone="test_convnext", pretrained=True)
    assert asked


@pytest.mark.parametrize("http", [True, False], ids=["refusal", "no HTTP"])
def test_a_hub_that_answers_is_asked(hub: str, monkeypatch: pytest.MonkeyPatch, http: bool) -> None:
    """Whatever it answers: the client says what is wrong with that."""

    class Refusing(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            if http:
                self.send_error(403)
            else:
                self.wfile.write(b"SSH-2.0\r\n")

        def log_message(self, *_: object) -> None: ...

    monkeypatch.setattr(timm, "create_model", lambda *_, **__: 1 / 0)
    with HTTPServer(("127.0.0.1", int(hub.rpartition(":")[2])), Refusing) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(ZeroDivisionError):
            TimmFeatures(backbone="test_convnext", pretrained=True)
        thread.join()
