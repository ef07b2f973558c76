"""Files of weights that come from elsewhere: from a path, or from a URL whose digest is known."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from urllib.parse import urlsplit

import torch.hub

from registry import InputError
from registry.cli import speaks

_SHA256 = re.compile(r"[0-9a-f]{64}")


def fetch(weights: str, digest: str | None) -> tuple[bytes, str]:
    """The content of a file of weights and its SHA-256, as it was read: what is used is what was looked at.

    Args:
        weights: a path, or an http or https URL; that is loaded once, into the cache of ``torch.hub``.
        digest: the SHA-256 that the file must have, in hexadecimal; a URL needs one.

    Raises:
        InputError: on ``weights``, when it cannot be read or has another digest; on ``digest``, when it is none or is
            missing.
    """
    if digest is not None and not _SHA256.fullmatch(digest):
        raise InputError.of("digest", f"{digest!r} is no SHA-256", "64 hexadecimal digits, lower case")
    scheme = urlsplit(weights).scheme
    if scheme in ("http", "https"):
        path = _downloaded(weights, digest)
    elif "://" in weights:
        raise InputError.of("weights", f"{weights} is no URL that is loaded from", "a path, or http:// or https://")
    else:
        path = Path(weights).expanduser()
    if not path.is_file():
        raise InputError.of("weights", f"there is no file {path}", "a path, or a URL with a digest")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError.of("weights", f"{path} cannot be read ({error.strerror})") from error
    found = hashlib.sha256(content).hexdigest()
    if digest not in (None, found):
        raise InputError.of("weights", f"{path} has the SHA-256 {found}, not that of digest ({digest})")
    return content, found


def _downloaded(url: str, digest: str | None) -> Path:
    if digest is None:
        raise InputError.of("digest", f"is missing: {url} could hold anything", "the SHA-256 of the file")
    # The digest is part of the name, so that another file of the same URL is another file here.
    path = Path(torch.hub.get_dir()) / "checkpoints" / f"{digest[:16]}-{Path(urlsplit(url).path).name or 'weights'}"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:  # beside, checked against the digest, and renamed
            torch.hub.download_url_to_file(url, str(path), hash_prefix=digest, progress=speaks())
        except (OSError, RuntimeError) as error:
            raise InputError.of("weights", f"{url} cannot be loaded: {error}", "a path, without a network") from error
    return path
