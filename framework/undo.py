"""Updates that may fail: what they did to a network's buffers is undone."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from framework.update import NotFiniteError

MOST_IN_A_ROW = 30
"""Failed updates after which it is no accident any more."""


class Undo:
    """Attempts updates of one network; after one that is not finite, all of ``module`` is as before it.

    Such an update applied no gradient, so only what forwards change is to be put back: statistics and singular
    vectors.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._failed = 0
        self._in_a_row = 0

    def attempt(self, update: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """What ``update`` returns, or nothing if it was undone.

        Raises:
            NotFiniteError: as have all of the last attempts.
        """
        kept = [
            (owner, name, buffer, buffer.clone())
            for owner in self._module.modules()
            for name, buffer in owner.named_buffers(recurse=False)
        ]
        try:
            log = update()
        except NotFiniteError as error:
            for owner, name, buffer, values in kept:
                buffer.copy_(values)
                setattr(owner, name, buffer)  # a norm that met a new timestep has another tensor now
            self._failed += 1
            self._in_a_row += 1
            if self._in_a_row == MOST_IN_A_ROW:
                raise type(error)(f"{error} ({MOST_IN_A_ROW} updates in a row)") from error
            return {}
        self._in_a_row = 0
        return log

    def taken(self) -> int:
        """How many attempts failed since this was asked last."""
        failed, self._failed = self._failed, 0
        return failed
