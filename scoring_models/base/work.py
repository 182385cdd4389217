"""What a loaded model did with its time, as sums that add up over callers, shards and processes."""

from __future__ import annotations

from typing import Annotated

import msgspec

Amount = Annotated[float, msgspec.Meta(ge=0, le=1e18)]
"""A measured number, such as seconds."""

Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
"""How many of something."""


class ModelWork(msgspec.Struct, kw_only=True):
    """What one or several copies of a loaded model did. Every field is a sum.

    Attributes:
        loads: how often it was loaded: the copies, one in each process and on each device.
        load_seconds: that this took.
        rows: that were scored.
        batches: that went through the model.
        places: that these batches had for rows, or for parts of long ones.
        taken: of these; the others were blank.
        seconds: from the first rows that were brought until now, added up over copies. In a part of them it computed
            (`busy`), in a part it had nothing to compute while rows waited to be decoded (`decoding`); in the rest it
            waited for rows: those who bring them were reading, or at another scorer.
        core_seconds: seconds by the clock times the cores that a process may keep busy with it.
        decode_seconds, infer_seconds: of these, in decoding and in the model; on a device that is waiting.
        tflop: floating-point operations of its batches, in units of 1e12, where `peak_tflop` is known.
        peak_tflop: what the device could have done in `seconds` at its peak; 0 where that is not known.
        devices: name of a device ("cpu") -> `seconds` on it.
        requests, retries: to an endpoint, and how many of them asked again.
        tokens_in, tokens_out: that the endpoint counted; answers to `uncounted` requests came without counts.
        failed: rows that have an error in place of an answer.
        cost: of those tokens, in the currency of the endpoint's price; 0 where none is given.
    """

    loads: Count = 0
    load_seconds: Amount = 0.0
    rows: Count = 0
    batches: Count = 0
    places: Count = 0
    taken: Count = 0
    seconds: Amount = 0.0
    busy: Amount = 0.0
    decoding: Amount = 0.0
    core_seconds: Amount = 0.0
    decode_seconds: Amount = 0.0
    infer_seconds: Amount = 0.0
    tflop: Amount = 0.0
    peak_tflop: Amount = 0.0
    requests: Count = 0
    retries: Count = 0
    uncounted: Count = 0
    tokens_in: Count = 0
    tokens_out: Count = 0
    failed: Count = 0
    cost: Amount = 0.0
    devices: dict[str, Amount] = msgspec.field(default_factory=dict)

    def add(self, other: ModelWork) -> None:
        """Adds another part of the work."""
        for name in self.__struct_fields__:
            if name != "devices":
                setattr(self, name, getattr(self, name) + getattr(other, name))
        for device, seconds in other.devices.items():
            self.devices[device] = self.devices.get(device, 0.0) + seconds
