"""What errors of storage mean: by the classes that s3fs, gcsfs, adlfs, aiohttp and requests raise, as they raise them."""

from __future__ import annotations

import errno
import pickle
import socket
from pathlib import Path
from typing import Any

import aiohttp
import botocore.exceptions
import pytest
from aiohttp.http_exceptions import ContentLengthError
from fsspec.implementations.local import LocalFileSystem
from s3fs.errors import translate_boto_error

from poolsieve.dataflow import fs, retries
from poolsieve.dataflow.storage_errors import StorageAway, StorageError, StorageForbidden, explained, transient


def of_boto(code: str, status: int) -> botocore.exceptions.ClientError:
    answer = {"Error": {"Code": code, "Message": "said"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return botocore.exceptions.ClientError(answer, "GetObject")


def of_s3fs(code: str, status: int) -> BaseException:
    """What s3fs makes of an answer, raised as s3fs raises it."""
    try:
        try:
            raise of_boto(code, status)
        except botocore.exceptions.ClientError as error:
            raise translate_boto_error(error, set_cause=False)  # noqa: B904  (as s3fs does it)
    except Exception as error:  # noqa: BLE001
        return error


class HttpError(Exception):
    """As gcsfs has it: a code that may be a number or text."""

    def __init__(self, code: Any) -> None:
        super().__init__(f"said, {code}")
        self.code = code


class HttpResponseError(Exception):
    """As azure-core has it."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__("said")
        self.status_code, self.error_code = status, code


def caused(outer: BaseException, inner: BaseException) -> BaseException:
    outer.__cause__ = inner
    return outer


PASSING = [
    *(of_s3fs(code, 503) for code in ("SlowDown", "ServiceUnavailable", "503")),
    of_s3fs("InternalError", 500),
    of_s3fs("500", 500),
    of_s3fs("502", 502),
    of_s3fs("504", 504),
    of_s3fs("OperationAborted", 409),
    of_s3fs("RequestTimeout", 400),
    of_s3fs("IncompleteBody", 400),
    of_s3fs("TooManyRequestsException", 429),
    OSError(errno.EBUSY, "Please reduce your request rate."),
    OSError(errno.EREMOTEIO, "We encountered an internal error."),
    OSError(errno.ESTALE, "Stale file handle"),
    *(HttpError(code) for code in (429, "429", 500, "503", 504, 408)),
    HttpResponseError(503, "ServerBusy"),
    HttpResponseError(500, "OperationTimedOut"),
    caused(aiohttp.ClientPayloadError("not completed"), ContentLengthError("received 1 of 2")),
    aiohttp.ServerDisconnectedError(),
    botocore.exceptions.ReadTimeoutError(endpoint_url="http://h"),
    botocore.exceptions.ConnectionClosedError(endpoint_url="http://h"),
    botocore.exceptions.ResponseStreamingError(error="cut"),
    botocore.exceptions.EndpointConnectionError(endpoint_url="http://h"),
    socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    caused(FileNotFoundError("http://h/a"), HttpResponseError(503, "")),
    caused(FileNotFoundError("http://h/a"), aiohttp.ServerDisconnectedError()),
    TimeoutError(),
    ConnectionResetError(),
    caused(OSError(errno.EIO, "said"), of_boto("Unheard", 503)),
]

FINAL = [
    of_s3fs("AccessDenied", 403),
    of_s3fs("403", 403),
    of_s3fs("NoSuchKey", 404),
    caused(FileExistsError("a lease"), of_boto("PreconditionFailed", 412)),
    of_s3fs("NoSuchBucket", 404),
    of_s3fs("ExpiredToken", 400),
    of_s3fs("InvalidAccessKeyId", 403),
    of_s3fs("SignatureDoesNotMatch", 403),
    of_s3fs("RestoreAlreadyInProgress", 409),
    of_s3fs("NotImplemented", 501),
    of_s3fs("InvalidRange", 416),
    OSError(errno.EIO, "the disk is broken"),
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EROFS, "Read-only file system"),
    OSError("Forbidden: b/o\nno access"),
    *(HttpError(code) for code in (403, "404", 400, None)),
    HttpResponseError(403, "AuthorizationFailure"),
    HttpResponseError(507, "InsufficientStorage"),
    botocore.exceptions.NoCredentialsError(),
    caused(ConnectionError("tls"), type("SSLCertVerificationError", (OSError,), {})("expired")),
    FileNotFoundError(),
    caused(FileNotFoundError("http://h/a"), HttpResponseError(404, "")),
    caused(FileNotFoundError("http://h/a"), HttpResponseError(403, "")),
    StorageAway("given up"),
    KeyError("x"),
]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_may_pass_is_tried_again(error: BaseException) -> None:
    assert transient(error)
    assert isinstance(explained(error, "s3://b/o"), StorageAway)


@pytest.mark.parametrize("error", FINAL, ids=repr)
def test_what_is_final_is_not(error: BaseException) -> None:
    assert not transient(error)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (botocore.exceptions.NoCredentialsError(), StorageForbidden, "no credentials for s3://b/o .*AWS_ACCESS_KEY_ID"),
        (botocore.exceptions.ProfileNotFound(profile="p"), StorageForbidden, "no credentials"),
        (of_s3fs("InvalidAccessKeyId", 403), StorageForbidden, "not accepted"),
        (of_s3fs("ExpiredToken", 400), StorageForbidden, "not accepted.*Renew"),
        (HttpError(401), StorageForbidden, "not accepted"),
        (of_s3fs("AccessDenied", 403), StorageForbidden, "may not be read or written"),
        (OSError("Forbidden: b/o\nno access"), StorageForbidden, "may not be read or written"),
        (OSError(errno.EROFS, "Read-only file system"), StorageError, "not read-only"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), StorageError, "No space left.*Disk quota.*Make room"),
        (HttpResponseError(507, "InsufficientStorage"), StorageError, "No space left"),
        (of_s3fs("NoSuchBucket", 404), StorageError, "no such bucket: s3://b/o.*Create it"),
        (of_s3fs("PermanentRedirect", 301), StorageError, "another region"),
        (OSError(errno.EMFILE, "Too many open files"), StorageError, "ulimit -n"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), StorageAway, "can't be reached.*endpoint"),
        (caused(ConnectionError("tls"), type("CertificateError", (OSError,), {})("old")), StorageAway, "certificate"),
    ],
)
def test_every_trouble_has_words(error: BaseException, kind: type[StorageError], text: str) -> None:
    found = explained(error, "s3://b/o")
    assert type(found) is kind and "\n" not in str(found)
    with pytest.raises(kind, match=text):
        raise found
    assert str(pickle.loads(pickle.dumps(found))) == str(found)


@pytest.mark.parametrize(
    "error", [ValueError("x"), FileNotFoundError(2, "none", "/a"), OSError("arrow"), KeyError("k")]
)
def test_what_is_no_trouble_of_storage_has_none(error: BaseException) -> None:
    assert explained(error) is None


def test_a_call_ends_when_nothing_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "AWAY_SECONDS", 0.05)
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.03)
    calls: list[str] = []

    @retries.retrying
    def call(url: str) -> None:
        calls.append(url)
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")

    with pytest.raises(StorageAway, match=r"^s3://b/o can't be reached \(Connection refused\)"):
        call("s3://b/o")
    assert 2 <= len(calls) <= 3


def test_errors_that_name_one_another_in_a_circle_are_judged() -> None:
    one, two = OSError("a"), OSError("b")
    one.__cause__, two.__cause__ = two, one
    assert not transient(one) and explained(one) is None


def test_removing_what_is_not_there_is_no_trouble_after_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a run ends that storage stopped: it removes a folder of its own, which may never have been made."""
    tried: list[str] = []
    remove = LocalFileSystem.rm

    def counted(system: LocalFileSystem, path: str, **how: Any) -> None:
        tried.append(path)
        remove(system, path, **how)

    monkeypatch.setattr(LocalFileSystem, "rm", counted)
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.001)
    with pytest.raises(StorageAway, match="the run"):
        try:
            raise StorageAway("the run") from ConnectionResetError()
        finally:
            fs.remove(str(tmp_path / "runs" / "one"))
    assert len(tried) == 1


def test_trouble_of_a_call_is_tried_again_whatever_was_being_handled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.001)
    calls: list[int] = []

    @retries.retrying
    def call() -> str:
        calls.append(1)
        if len(calls) < 3:
            try:
                raise aiohttp.ServerDisconnectedError
            except aiohttp.ServerDisconnectedError:
                raise FileNotFoundError("http://h/a")  # noqa: B904  (as fsspec's http does it)
        return "read"

    try:
        raise PermissionError("no rights")
    except PermissionError:
        assert call() == "read"
    assert len(calls) == 3


def test_what_was_being_handled_lends_no_words_to_another_error() -> None:
    @retries.retrying
    def call() -> None:
        raise ValueError("a slip")

    with pytest.raises(ValueError, match="a slip"):
        try:
            raise botocore.exceptions.NoCredentialsError
        finally:
            call()
