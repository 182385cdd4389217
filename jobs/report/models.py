"""What loaded models did: a line for each, and what would make a slow one faster, in a sentence made from figures."""

from __future__ import annotations

import math

import msgspec

from poolsieve.jobs.report.numbers import cores_text, percent_text, rate_text, seconds_text
from poolsieve.scoring_models.base.work import Amount, Count, ModelWork
from poolsieve.scoring_models.feeding.meter import CPU


class ModelLine(msgspec.Struct, kw_only=True, frozen=True):
    """One model. On a CPU, shares are of the time of the cores; on a device, of the device's time.

    Attributes:
        step: the score that it makes (the first one, if several share it).
        device: its name; "cpu" is a CPU.
        copies: processes that loaded it in this run.
        rows_per_second: of one copy, waiting included; None if no time was measured.
        in_model: share of the time in the model: a core that computes, or a device that has a batch.
        decoding: share in which cores decode rows, or a device has nothing to compute while rows wait to be decoded.
        waiting: the rest: there are no rows, or too few to keep all cores decoding.
        cores: that one copy could keep busy.
        decode_cores: that decoded, on average.
        more_cores: that would fill the device with decoded rows; None where that can't be told, and on a CPU.
        filled: places of batches that rows took, as a share of all.
        peak: floating-point operations as a share of what the device could do in that time (MFU); None if not known.
        peak_in_model: the same, of the time in which it had a batch.
        load_seconds: that loading it took, on average; None where it was not loaded in this run.
        text: the same as one line.
    """

    step: str
    device: str
    copies: Count
    rows: Count
    rows_per_second: Amount | None
    in_model: Amount
    decoding: Amount
    waiting: Amount
    cores: Amount
    decode_cores: Amount
    more_cores: Count | None
    filled: Amount | None
    peak: Amount | None
    peak_in_model: Amount | None
    load_seconds: Amount | None
    text: str = ""


def model_line(step: str, work: ModelWork) -> ModelLine:
    """The line of a model that did this."""
    device = max(work.devices, key=lambda name: work.devices[name], default=CPU)
    on_cpu = device == CPU
    part = (work.infer_seconds, work.decode_seconds) if on_cpu else (work.busy, work.decoding)
    in_model, decoding = (_share(seconds, work.core_seconds if on_cpu else work.seconds) for seconds in part)
    peak = _share(work.tflop, work.peak_tflop) if work.tflop and work.peak_tflop else None
    line = ModelLine(
        step=step,
        device=device,
        copies=work.loads,
        rows=work.rows,
        rows_per_second=_ratio(work.rows, work.seconds),
        in_model=in_model,
        decoding=min(decoding, 1 - in_model),
        waiting=max(1 - in_model - decoding, 0.0) if work.seconds else 0.0,
        cores=_ratio(work.core_seconds, work.seconds) or 0.0,
        decode_cores=_ratio(work.decode_seconds, work.seconds) or 0.0,
        more_cores=None if on_cpu else _more_cores(work),
        filled=_share(work.taken, work.places) if work.places else None,
        peak=peak,
        peak_in_model=peak and _share(work.tflop * work.seconds, work.peak_tflop * work.busy),
        load_seconds=_ratio(work.load_seconds, work.loads),
    )
    return msgspec.structs.replace(line, text=_text(line))


def _ratio(a: float, b: float) -> float | None:
    return min(a / b, 1e18) if b > 0 else None


def _share(part: float, whole: float) -> float:
    """At most 1: threads that decode beside those that wait for a device may be more than there are cores."""
    return min(_ratio(part, whole) or 0.0, 1.0)


def _more_cores(work: ModelWork) -> int | None:
    """Cores that decoding lacks: a row's decode time by the rows a second that the device takes while it computes."""
    needed, had = _ratio(work.decode_seconds, work.busy), _ratio(work.core_seconds, work.seconds)
    return None if needed is None or had is None else max(math.ceil(needed - had), 0)


def _text(line: ModelLine) -> str:
    """`dfn on NVIDIA L4: 410 rows/s; computes 27 % of the time, waits for decoding 71 %, for rows 2 %; ...`"""
    place = cores_text(line.cores) if line.device == CPU else line.device
    said = [f"{rate_text(line.rows_per_second)} rows/s", _times(line)] if line.cores else ["no rows"]
    if line.peak is not None:
        alone = percent_text(line.peak_in_model)
        said.append(f"{percent_text(line.peak)} of the device's peak, {alone} while it computes")
    if line.load_seconds:
        said.append(f"loaded in {seconds_text(line.load_seconds)}")
    copies = f" (each of {line.copies} copies)" if line.copies > 1 else ""
    return f"{line.step} on {place}{copies}: {'; '.join(said)}"


def _times(line: ModelLine) -> str:
    model, decoding, waiting = (percent_text(share) for share in (line.in_model, line.decoding, line.waiting))
    if line.device == CPU:
        return f"{model} of the cores' time in the model, {decoding} in decoding, {waiting} without rows"
    decode = f"{line.decode_cores:.1f} of {cores_text(line.cores)} decode"
    return f"computes {model} of the time, waits for decoding {decoding}, for rows {waiting}; {decode}"


def remedy(line: ModelLine, others: str) -> str:
    """What keeps a model from being faster, and what would help. `others`: what it waits for when it has no rows."""
    device = f"The device of {line.step}"
    most = max(line.in_model, line.decoding, line.waiting)
    share = percent_text(most)
    if most == line.waiting:
        return f"{'Its cores have' if line.device == CPU else f'{device} has'} no rows {share} of the time: {others}."
    if line.device == CPU:
        return _remedy_of_cores(line)
    if most == line.in_model:
        return f"{device} is full: it computes {share} of the time, and another would halve the time."
    return f"{device} waits for decoding {share} of the time: {_filling(line)}."


def _filling(line: ModelLine) -> str:
    each = f" for each of {line.copies} copies" if line.copies > 1 else ""
    if line.more_cores is None:
        return "more cores would help"
    if not line.more_cores:
        return f"{cores_text(line.cores)}{each} could fill it, if they had rows all the time"
    return f"{line.more_cores:,} more core{'s' if line.more_cores != 1 else ''}{each} would fill it"


def _remedy_of_cores(line: ModelLine) -> str:
    times = {"the model": line.in_model, "decoding": line.decoding}
    first, second = sorted(times, key=lambda name: -times[name])
    return (
        f"It takes the cores: {percent_text(times[first])} of their time in {first}, "
        f"{percent_text(times[second])} in {second}; more cores would make it faster."
    )
