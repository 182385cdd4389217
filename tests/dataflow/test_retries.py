"""How long a call to storage waits before it is made again, and when it is given up."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import fsspec
import pytest

from poolsieve.dataflow import fs, progress, retries
from poolsieve.dataflow.storage_errors import StorageAway, retry_after
from tests.hub_server import Fault, HubServer


@pytest.fixture
def url(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file of a loopback Hub, read as any web server's: this client waits for nothing by itself."""
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.002)
    hub.create("org/pool", {"a.txt": b"contents"})
    fsspec.get_filesystem_class("http").clear_instance_cache()
    return f"{hub.url}/datasets/org/pool/resolve/main/a.txt"


def refused(times: int, **headers: str) -> Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Fault("GET", "resolve", 429, named, times=times)


def test_a_pause_that_is_asked_for_in_seconds_is_kept(hub: HubServer, url: str) -> None:
    hub.faults.append(refused(1, Retry_After="1"))
    began = time.monotonic()
    assert fs.read_bytes(url) == b"contents"
    assert time.monotonic() - began >= 1.0  # our own first pause is 2 ms here
    assert [one.status < 400 for one in hub.requests if one.method == "GET"] == [False, True]


def test_a_date_is_waited_for(hub: HubServer, url: str) -> None:
    until = datetime.now(UTC) + timedelta(seconds=3)  # dates have no fractions of seconds
    hub.faults.append(refused(1, Retry_After=format_datetime(until, usegmt=True)))
    assert fs.read_bytes(url) == b"contents"
    assert datetime.now(UTC) >= until.replace(microsecond=0)


def test_a_pause_has_a_limit(hub: HubServer, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "LONGEST_PAUSE", 0.1)
    hub.faults.append(refused(1, Retry_After="86400"))
    assert fs.read_bytes(url) == b"contents"


def test_time_that_was_asked_for_is_no_time_of_failing(
    hub: HubServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "RETRY_SECONDS", 0.9)
    hub.faults.append(refused(2, Retry_After="1"))
    assert fs.read_bytes(url) == b"contents"


def test_who_is_asked_to_wait_without_end_gives_up(hub: HubServer, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "PATIENCE_SECONDS", 0.5)
    hub.faults.append(refused(100, Retry_After="1"))
    with pytest.raises(StorageAway, match="goes on failing"):
        fs.read_bytes(url)
    assert hub.count("GET", "resolve") == 2


def test_a_long_pause_ends_when_the_run_is_asked_to_stop(hub: HubServer, url: str) -> None:
    hub.faults.append(refused(1, Retry_After="300"))
    one = progress.Progress()
    one.ask_to_stop()
    with one.here(), pytest.raises(progress.Interrupted):
        fs.read_bytes(url)
    assert hub.count("GET", "resolve") == 1


class _Answered(Exception):
    """As botocore and httpx have the answer in `response`, aiohttp its headers on the error."""

    def __init__(self, **has: Any) -> None:
        self.__dict__.update(has)


class _Response:
    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = headers


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (_Answered(response={"ResponseMetadata": {"HTTPHeaders": {"retry-after": "7"}}}), 7.0),
        (_Answered(response=_Response({"Retry-After": " 8 "})), 8.0),
        (_Answered(headers={"RETRY-AFTER": "9"}), 9.0),
        (_Answered(headers={"RateLimit": '"api";r=0;t=55'}), 55.0),
        (_Answered(headers={"RateLimit": '"api";r=3;t=55'}), None),
        (_Answered(headers={"Retry-After": "soon"}), None),
        (_Answered(headers={"Retry-After": "Mon, 01 Jan 2001 00:00:00 GMT"}), 0.0),
        (_Answered(headers={"Retry-After": "²"}), None),
        (_Answered(response=_Response({})), None),
        (ValueError("none"), None),
    ],
)
def test_what_services_say(error: Exception, seconds: float | None) -> None:
    assert retry_after(error) == seconds
