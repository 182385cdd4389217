"""What storage says when something goes wrong: whether trying again may help, and what to tell the user.

The libraries behind fsspec have an exception class for each of their layers, and most are installed nowhere here. So an
error is judged by what it carries: an HTTP status, a code of the service, an errno, the names of its classes; and by
the errors that it came from, since s3fs, gcsfs and adlfs all raise something simpler than what they caught.
"""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from poolsieve.dataflow.credentials import hide, without
from poolsieve.scoring_models.base.errors import PoolsieveError


class StorageError(PoolsieveError, OSError):
    """Storage that can't be read or written, in words: what, where, and what to do. `errno` is that of its cause."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""  # an OSError would print its number


class StorageForbidden(StorageError, PermissionError):
    """Credentials that are missing, wrong, or not enough."""


class StorageAway(StorageError, ConnectionError):
    """Storage that can't be reached, or that goes on failing."""


_LOOKUPS = (FileNotFoundError, NotADirectoryError, IsADirectoryError, FileExistsError)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_BUSY_CODES = _words(
    "SlowDown ServiceUnavailable InternalError RequestTimeout RequestTimeoutException OperationAborted Throttling "
    "ThrottlingException ThrottledException RequestThrottled RequestLimitExceeded TooManyRequestsException "
    "BandwidthLimitExceeded PriorRequestNotComplete IncompleteBody BadDigest XAmzContentSHA256Mismatch"
)
"""S3's codes for what may pass. Some come with a status of 400: a body that was cut on its way, or garbled."""

_BUSY_STATUS = frozenset({408, 425, 429})
_FINAL_STATUS = frozenset({501, 505, 507, 511})
"""Of those from 500 on: not implemented, and a store that is full."""

_AWAY = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN})
_BUSY = _AWAY | {
    # s3fs makes EBUSY of 503 and SlowDown, EREMOTEIO of 500.
    errno.EBUSY,
    getattr(errno, "EREMOTEIO", errno.EBUSY),
    errno.EAGAIN,
    errno.ETIMEDOUT,
    errno.ECONNRESET,
    errno.ECONNABORTED,
    errno.ENETRESET,
    errno.EPIPE,
    errno.ESTALE,
}
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""No space, no quota, a file above the limit."""
_FINAL = FULL | {errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM}

# Names of classes, or of one that they derive from, in: Python, aiohttp, botocore, requests, urllib3, httpx,
# azure-core, google-auth, gcsfs.
_AWAY_NAMES = frozenset({"ClientConnectorError", "ConnectError", "EndpointConnectionError", "gaierror"})
_BUSY_NAMES = _AWAY_NAMES | _words(
    "ChecksumError ChunkedEncodingError ClientConnectionError ClientPayloadError ConnectionError HTTPClientError "
    "IncompleteRead IncompleteReadError ProtocolError ReadTimeoutError ResponseParserError ServiceRequestError "
    "ServiceResponseError Timeout TimeoutError TransportError"
)
_CERTIFICATE_NAMES = frozenset({"CertificateError", "ClientConnectorCertificateError", "SSLCertVerificationError"})
_NO_CREDENTIALS = _words(
    "CredentialRetrievalError CredentialUnavailableError DefaultCredentialsError NoCredentialsError "
    "PartialCredentialsError ProfileNotFound SSOError SSOTokenLoadError TokenRetrievalError"
)
_WRONG_CREDENTIALS = frozenset({"ClientAuthenticationError", "RefreshError"})
_WRONG_CREDENTIALS_CODES = _words(
    "AuthFailure AuthenticationFailed ExpiredToken InvalidAccessKeyId InvalidToken SignatureDoesNotMatch"
)
_NO_BUCKET_CODES = frozenset({"ContainerNotFound", "NoSuchBucket"})
_TEXT = 200
"""Characters of a library's own words that a message repeats."""


def chain(error: BaseException, before: BaseException | None = None) -> Iterator[BaseException]:
    """An error and those that it came from, the last one first.

    Args:
        error: what was raised.
        before: what was being handled when the call began that raised it (`sys.exception()` then). Python names that
            as an error's context too, though it comes from something else: the chain ends there.
    """
    seen = {id(before)} if before is not error else set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def kinds_of(error: BaseException) -> set[str]:
    """Names of the classes, and of those that they derive from, of an error and those that it came from."""
    return set().union(*map(_names, chain(error)))


def is_answer(error: BaseException, before: BaseException | None = None) -> bool:
    """Whether an error is no trouble but an answer (there is no such file), which callers ask for by class.

    fsspec's http says "not found" of whatever went wrong when it asked for a file's size: then its cause is trouble.
    `before` is as for `chain`.
    """
    if not isinstance(error, FileNotFoundError):
        return isinstance(error, _LOOKUPS)
    causes = list(chain(error, before))[1:]
    return not any(_by_kind(one) or (_status(one) or 404) not in (404, 410) for one in causes)


def transient(error: BaseException, before: BaseException | None = None) -> bool:
    """Whether trying again may help: a busy or broken service, a lost connection, a slow answer.

    `before` is as for `chain`.
    """
    if isinstance(error, PoolsieveError) or is_answer(error, before):
        return False
    found = list(chain(error, before))
    if any(_names(one) & _CERTIFICATE_NAMES for one in found):
        return False
    # A code says more than what s3fs makes of it: "being restored from tape" is EBUSY too.
    spoken = [verdict for one in found if (verdict := _by_code(one)) is not None]
    judged = spoken or [verdict for one in found if (verdict := _by_kind(one)) is not None]
    return bool(judged) and judged[0]


def _by_code(error: BaseException) -> bool | None:
    """What the service's own word says; None where it said nothing."""
    if _code(error) in _BUSY_CODES:
        return True
    status = _status(error)
    if status is None or status < 400:
        return None
    return status in _BUSY_STATUS or (status >= 500 and status not in _FINAL_STATUS)


def _by_kind(error: BaseException) -> bool | None:
    number = getattr(error, "errno", None)
    if isinstance(error, PermissionError) or number in _FINAL or "OfflineModeIsEnabled" in _names(error):
        return False  # the last one is huggingface_hub's, a ConnectionError
    if number in _BUSY or getattr(error, "retryable", None) is True or _names(error) & _BUSY_NAMES:
        return True
    return None


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _code(error: BaseException) -> str:
    """The service's code: botocore's `response`, azure-core's `error_code`; empty for none."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):
        details = response.get("Error")
        return str(details.get("Code", "")) if isinstance(details, Mapping) else ""
    return str(getattr(error, "error_code", None) or "")


def _status(error: BaseException) -> int | None:
    """The HTTP status: gcsfs' `code` (a number or its digits), aiohttp's `status`, `status_code`, or a response's."""
    if "HttpProcessingError" in _names(error):
        return None  # aiohttp gives answers that ended early a 400 of its own
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):
        spoken = response.get("ResponseMetadata") or {}
        return _number(spoken.get("HTTPStatusCode") if isinstance(spoken, Mapping) else None)
    # Asked for one after the other: some warn that a name is old.
    found = (_number(getattr(error, name, None)) for name in ("status_code", "status", "code"))
    return next((number for number in found if number is not None), _number(getattr(response, "status_code", None)))


def retry_after(error: BaseException, before: BaseException | None = None) -> float | None:
    """Seconds that a service asks to wait; None where it asks for nothing. `before` is as for `chain`.

    It says so in `Retry-After` (RFC 9110, 10.2.3: seconds, or a date), and the Hub in `RateLimit` as well
    (draft-ietf-httpapi-ratelimit-headers: `"api";r=0;t=55`, `r` requests being left for `t` seconds).
    """
    for one in chain(error, before):
        headers = _headers(one)
        said = str(headers.get("retry-after") or "").strip()
        if said:
            return _seconds(said)
        window = _WINDOW.search(str(headers.get("ratelimit") or ""))
        if window:
            return float(window[1])
    return None


_WINDOW = re.compile(r";\s*r=0\s*;\s*t=(\d{1,9})")


def _headers(error: BaseException) -> Mapping[str, Any]:
    """Of the answer that an error came of, by names in small letters: botocore's, aiohttp's, or a response's own."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):
        spoken = response.get("ResponseMetadata") or {}
        found = spoken.get("HTTPHeaders") if isinstance(spoken, Mapping) else None
    else:
        found = getattr(error, "headers", None) or getattr(response, "headers", None)
    return {str(name).lower(): value for name, value in found.items()} if isinstance(found, Mapping) else {}


def _seconds(said: str) -> float | None:
    if said.isascii() and said.isdigit():
        return float(said[:9])
    try:
        return max(parsedate_to_datetime(said).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return None


def _number(value: Any) -> int | None:
    text = str(value)
    return int(text) if len(text) == 3 and text.isascii() and text.isdigit() else None


def is_away(error: BaseException, before: BaseException | None = None) -> bool:
    """Whether nothing answers at all: a wrong endpoint is likelier than a service that comes back.

    `before` is as for `chain`.
    """
    return any(getattr(one, "errno", None) in _AWAY or _names(one) & _AWAY_NAMES for one in chain(error, before))


def explained(
    error: BaseException,
    where: str = "",
    options: Mapping[str, Any] | None = None,
    before: BaseException | None = None,
) -> StorageError | None:
    """An error of storage as the user should read it; None for what is no trouble of storage.

    Args:
        error: what a file system raised.
        where: URL or path that was being read or written.
        options: of the file system; no secret of theirs is repeated.
        before: as for `chain`.
    """
    if isinstance(error, StorageError):
        return error
    found = list(chain(error, before))
    kind, advice = _advice(found, before)
    if not advice:
        return None
    place = hide(where or str(getattr(error, "filename", None) or "") or "the storage")
    numbers = (one for one in found if getattr(one, "errno", None))
    said = without(_own_words(found[0]), options or {})
    made = kind(advice.format(place=place, said=f" ({said})" if said else ""))
    made.errno = getattr(next(numbers, None), "errno", None)
    made.strerror = said
    return made


def _own_words(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split())[:_TEXT]


_LATER = "The same command goes on from what is stored by then"


def _advice(found: list[BaseException], before: BaseException | None) -> tuple[type[StorageError], str]:
    """The class and the text for a chain of errors; an empty text for what is no trouble of storage."""
    numbers = {number for one in found if isinstance(number := getattr(one, "errno", None), int)}
    names = set().union(*map(_names, found))
    codes = {code for one in found if (code := _code(one))}
    status = {number for one in found if (number := _status(one)) is not None}
    if any(isinstance(one, OSError) and str(one).startswith("Forbidden") for one in found):
        status.add(403)  # as gcsfs says it
    if "HfHubHTTPError" in names and (of_the_hub := _of_the_hub(found, status)):
        return of_the_hub
    forbidden = next((text for hit, text in _forbidden(numbers, names, codes, status) if hit), "")
    if forbidden:
        return StorageForbidden, forbidden
    away = next((text for hit, text in _away(found, before, names) if hit), "")
    if away:
        return StorageAway, away
    if any("range requests" in str(one) for one in found):  # as fsspec's http says it
        return StorageError, "{place} can't be read in parts{said}: copy the pool to storage that serves ranges"
    return StorageError, next((text for hit, text in _other(numbers, codes, status) if hit), "")


def _of_the_hub(found: list[BaseException], status: set[int]) -> tuple[type[StorageError], str] | None:
    if 401 in status:
        return StorageForbidden, (
            "the Hub does not know who asks for {place}{said}: there is no token, or it is not valid. Log in with "
            "`hf auth login`, or set HF_TOKEN, then run the same command again"
        )
    bucket = next((one for one in found if "BucketNotFoundError" in _names(one)), None)
    if bucket is None:
        return None
    name = str(getattr(bucket, "bucket_id", None) or "org/name").replace("{", "").replace("}", "")
    return StorageError, (
        "there is no such bucket, or your token may not see it: {place}. Check its name, or make it with "
        f"`hf buckets create {name}`"
    )


def _forbidden(numbers: set[int], names: set[str], codes: set[str], status: set[int]) -> Iterator[tuple[bool, str]]:
    yield (
        bool(names & _NO_CREDENTIALS),
        "there are no credentials for {place}{said}. Set them in the environment (AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY, AWS_PROFILE, GOOGLE_APPLICATION_CREDENTIALS), or give a pool's in storage_options; "
        'for public data storage_options={{"anon": True}}',
    )
    yield (
        bool(names & _WRONG_CREDENTIALS or codes & _WRONG_CREDENTIALS_CODES or 401 in status),
        "the credentials for {place} are not accepted{said}: they may have expired, or belong elsewhere. Renew "
        "them, then run the same command again",
    )
    yield (
        errno.EROFS not in numbers and ("PermissionError" in names or bool(numbers & {errno.EACCES, errno.EPERM})),
        "{place} may not be read or written with the rights that this user has{said}. Ask for them, or choose a place "
        "where you have them",
    )
    yield (
        403 in status,
        "{place} may not be read or written with these credentials{said}. Ask for the rights, or use others",
    )


def _away(found: list[BaseException], before: BaseException | None, names: set[str]) -> Iterator[tuple[bool, str]]:
    passing = transient(found[0], before)
    yield (
        bool(names & _CERTIFICATE_NAMES),
        "the certificate of {place} is not trusted{said}: check the endpoint, or name your authority in AWS_CA_BUNDLE "
        "or SSL_CERT_FILE",
    )
    yield (
        is_away(found[0], before) and passing,
        "{place} can't be reached{said}. Check the network and the endpoint (AWS_ENDPOINT_URL, "
        "STORAGE_EMULATOR_HOST, or the pool's storage_options), then run the same command again",
    )
    yield (
        passing,
        "{place} goes on failing{said}; it was tried again for some minutes. " + _LATER,
    )


def _other(numbers: set[int], codes: set[str], status: set[int]) -> Iterator[tuple[bool, str]]:
    yield (
        bool(numbers & FULL or codes & {"QuotaExceeded", "InsufficientStorage"} or 507 in status),
        "No space left to write {place}{said}. Make room, or choose another place. " + _LATER,
    )
    yield errno.EROFS in numbers, "{place} can't be written{said}: choose a place that is not read-only"
    yield (
        bool(codes & _NO_BUCKET_CODES),
        "there is no such bucket: {place}{said}. Create it, or check its name and the endpoint",
    )
    yield (
        bool(codes & {"PermanentRedirect", "AuthorizationHeaderMalformed"} or 301 in status),
        "the bucket of {place} is in another region{said}: set AWS_DEFAULT_REGION, or AWS_ENDPOINT_URL",
    )
    yield (
        errno.EMFILE in numbers,
        "too many files are open to open {place}{said}: raise the limit (ulimit -n), or use fewer workers",
    )
    yield (
        any(number >= 400 and number != 404 for number in status),
        "{place} was refused{said}. A token that has expired, another region, or a proxy between may be why",
    )
    yield errno.ENAMETOOLONG in numbers, "the name of {place} is too long for its file system{said}"
