"""What Beam works out anew for every step of a job and every look at an option: found once, and remembered.

A job has some hundred steps, and Beam inspects all methods of each one's class nine times; an option is read by
building a parser of all that belong to its class. Of the second or two that a small run takes, that was half.
"""

from __future__ import annotations

import types
import weakref
from typing import Any, TypeVar

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import userstate

Options = TypeVar("Options", bound=PipelineOptions)


class KeptOptions(PipelineOptions):
    """Beam's options, whose views are made once: all views share the values, so that one does for all who ask."""

    def view_as(self, cls: type[Options]) -> Options:
        """The one view as that class."""
        views = self.__dict__.setdefault("_views", {})
        if cls not in views:
            views[cls] = super().view_as(cls)
        found: Options = views[cls]
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_views"}


def remember_stateless() -> None:
    """Beam then looks once in a process for the state and timers that methods of a class of steps ask for."""
    if not isinstance(userstate.get_dofn_specs, _Remembering):
        userstate.get_dofn_specs = _Remembering(userstate.get_dofn_specs)


class _Remembering:
    """`get_dofn_specs`, which knows classes again that have neither state nor timers."""

    def __init__(self, look: Any) -> None:
        self.look = look
        self.stateless: weakref.WeakSet[type] = weakref.WeakSet()

    def __call__(self, step: Any) -> tuple[set[Any], set[Any]]:
        own = getattr(step, "__dict__", {}).values()
        if any(isinstance(one, types.MethodType) for one in own):  # a method that its class does not know
            return self._looked(step)
        if type(step) in self.stateless:
            return set(), set()
        states, timers = self._looked(step)
        if not states and not timers:
            self.stateless.add(type(step))
        return states, timers

    def _looked(self, step: Any) -> tuple[set[Any], set[Any]]:
        found: tuple[set[Any], set[Any]] = self.look(step)
        return found
