"""Secrets stay out of what is written: refused in URLs and recipes, hidden in messages.

URLs of pool, OUT and export stand in the manifest, in reports and in ledgers, and so does a recipe's text. Keys belong
into the environment or into `storage_options`, which are never stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from poolsieve.scoring_models.base.errors import PlanError

_USER = re.compile(r"(://[^/?#:@]*):(?!:|\d*(?:/|$))[^?#]*@")
"""`://user:password@`; a password may hold what it should not, as AWS's hold slashes. No port, no `zip://a::https://b`."""

_SECRET_PARTS = ("signature", "credential", "token", "secret", "password", "passwd", "api_key", "apikey", "accesskey")
_SECRET_QUERIES = frozenset(
    [
        "sig",
        "key",
        "auth",
        "authorization",
        "sas",
        "pwd",
        "code",
        "googleaccessid",
        "policy",
        "jwt",
        "session",
        "hmac",
        "hdnts",
        "hdnea",
    ]
)
"""Parameters of signed URLs: `X-Amz-Signature`, `X-Goog-Credential`, Azure's `sig`, `AWSAccessKeyId` ..."""

_QUERY = re.compile(r"([?&;#])([^=&;?#\s]+)=([^&;#\s\"']*)")

_SECRET_OPTIONS = (*_SECRET_PARTS, "account_key", "access_key", "connection_string", "sas", "private_key", "passphrase")
_ORDINARY = frozenset({"anon", "browser", "cache", "cloud", "default", "google_default", "true", "false", "none"})
_SHORT = 6
"""Values below this many characters are no secrets that could be told from ordinary words."""

HIDDEN = "***"


def _is_secret(parameter: str) -> bool:
    name = unquote(parameter).lower().replace("-", "_").removeprefix("tokeniz")
    return name in _SECRET_QUERIES or any(part in name for part in _SECRET_PARTS)


def check_url(url: str) -> None:
    """Refuses a URL that carries credentials.

    Raises:
        PlanError: naming the URL without its secret, and where credentials belong.
    """
    if "://" not in url:
        return
    secret = bool(_USER.search(url)) or any(_is_secret(name) and value for _, name, value in _QUERY.findall(url))
    if secret:
        raise PlanError(
            f"{hide(url)} carries credentials, which would stand in manifest, report and ledger. Take them out of the "
            "URL: they belong in the environment (as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY) or, for a pool, in "
            "storage_options, whose values the recipe reads from os.environ"
        )


def hide(text: str) -> str:
    """`text` with `***` in the place of passwords and signatures of URLs in it."""
    text = _USER.sub(rf"\1:{HIDDEN}@", text)
    return _QUERY.sub(lambda m: f"{m[1]}{m[2]}={HIDDEN}" if _is_secret(m[2]) and m[3] else m[0], text)


def secrets_of(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(name, value) of the secrets in `storage_options`, by their names, at any depth."""
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from secrets_of(value)
        elif isinstance(value, str) and _looks_secret(str(name), value):
            yield str(name), value


def _looks_secret(name: str, value: str) -> bool:
    # A token may be the path of a key file, or a word such as "cloud".
    ordinary = len(value) < _SHORT or value.lower() in _ORDINARY or value.endswith(".json")
    return any(part in name.lower() for part in _SECRET_OPTIONS) and not ordinary


def without(text: str, options: Mapping[str, Any]) -> str:
    """`text` with `***` in the place of the secrets of `options` and of those in URLs."""
    for _, value in secrets_of(options):
        text = text.replace(value, HIDDEN)
    return hide(text)


def check_text(options: Mapping[str, Any], texts: Mapping[str, str]) -> None:
    """Refuses secrets that are written in what the manifest will hold.

    Args:
        options: the pool's `storage_options`.
        texts: what it is called -> text: recipe file, parameters, included files.

    Raises:
        PlanError: naming the option and where it is written.
    """
    for name, value in secrets_of(options):
        for where, text in texts.items():
            if value in text:
                raise PlanError(
                    f"the secret storage_options[{name!r}] is written in {where}, which the manifest keeps: read it "
                    f'from the environment, as storage_options={{"{name}": os.environ["..."]}}'
                )
