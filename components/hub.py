"""Weights on the Hugging Face Hub: whether they can be had, before its client tries for more than a minute."""

from __future__ import annotations

import ssl
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

SECONDS = 10
"""That a server has to answer within."""
_FILES = ("model.safetensors", "pytorch_model.bin")
"""In which timm's models have their weights, unless they name another."""


def why_not(config: Any) -> str | None:
    """Why the weights of a timm model cannot be had, as a clause; None if nothing speaks against it.

    Weights that are in the cache can be had. The client is to be kept offline by ``HF_HUB_OFFLINE``, and fails at once
    then; so that is left to it.

    Args:
        config: timm's ``PretrainedCfg`` of the model, None where it has none.
    """
    from huggingface_hub import constants  # takes a while, and only pretrained weights need it

    repository = None if config is None or config.file else config.hf_hub_id
    if not repository or constants.HF_HUB_OFFLINE or _is_cached(repository, config.hf_hub_filename):
        return None
    try:
        with urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=SECONDS):  # noqa: S310  # the user's own
            return None
    except (HTTPError, HTTPException):
        return None  # it answers, and whoever asks for the file is told what is wrong
    except OSError as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, ssl.SSLError):
            return None  # it answers; the client may trust other certificates than Python does
        what = reason.strerror if isinstance(reason, OSError) and reason.strerror else reason
        return f"{constants.ENDPOINT} cannot be reached ({what}), and they are not in {constants.HF_HUB_CACHE}"


def _is_cached(repository: str, file: str | None) -> bool:
    from huggingface_hub import constants, try_to_load_from_cache

    name, _, revision = repository.partition("@")
    return any(
        isinstance(try_to_load_from_cache(name, each, constants.HF_HUB_CACHE, revision or None), str)
        for each in ((file,) if file else _FILES)
    )
