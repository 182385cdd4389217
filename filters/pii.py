"""Personal data in text: e-mail addresses and public IP addresses, counted and masked.

Patterns and replacements are those of datatrove's `PIIFormatter` (huggingface/datatrove, `pipeline/formatters/pii.py`,
0.10), which FineWeb used. One thing differs on purpose: datatrove goes on through its replacements from one document to
the next, so that a document's text depends on those before it; here each document starts with the first.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from poolsieve.filters.words.tokenizer import score_texts
from poolsieve.scoring_models.base.config import Config
from poolsieve.scoring_models.base.scorer import Scored, TextScorer

EMAILS = ("email@example.com", "firstname.lastname@example.org")
"""Addresses that nobody has."""

IPS = ("22.214.171.124", "126.96.36.199", "188.8.131.52", "184.108.40.206", "220.127.116.11", "18.104.22.168")
"""Addresses that did not answer when datatrove chose them."""

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)"
_TAIL = r"[A-Za-z0-9-]*[A-Za-z0-9]:"
_LITERAL = rf"\[(?:{_OCTET}\.){{3}}(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?|{_TAIL})]"

_LOCAL = frozenset(string.ascii_letters + string.digits + "!#$%&'*+/=?^_`{|}~-.")
_BEGIN = re.compile(rf"\b{_ATOM[:-1]}")
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)+{_LABEL}|{_LITERAL}")
_IP = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}")


def emails_in(text: str) -> list[str]:
    """The e-mail addresses of a text, in order."""
    return [text[start:stop] for start, stop in _email_spans(text)]


def _email_spans(text: str) -> Iterator[tuple[int, int]]:
    r"""(start, stop) of what `\b ATOM(\.ATOM)* @ DOMAIN` finds, in time linear in the text.

    That pattern is tried at each word of "a-a-a-a-@" and runs to its end each time. An address has one @, and no other
    part can hold one, so each @ is looked at once: the domain behind it, then how far the name before it reaches.
    """
    free, at = 0, text.find("@")
    while at >= 0:
        domain = _DOMAIN.match(text, at + 1)
        begin = None if domain is None else _BEGIN.search(text, _name_start(text, free, at), at)
        if domain and begin and text[at - 1] != ".":
            free = domain.end()
            yield begin.start(), free
        at = text.find("@", max(at + 1, free))


def _name_start(text: str, free: int, at: int) -> int:
    """Where the longest run of atoms with single full stops between them begins that ends at the @."""
    start = at
    while start > free and text[start - 1] in _LOCAL and text[start - 1 : start + 1] != "..":
        start -= 1
    return start


def ips_in(text: str) -> list[str]:
    """The public IPv4 addresses of a text, in order."""
    return [found for found in _IP.findall(text) if _public(found)] if "." in text else []


def _public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False


def masked(text: str, emails: Sequence[str] = EMAILS, ips: Sequence[str] = IPS) -> str:
    """The text with its e-mail addresses and public IP addresses replaced, by each of the replacements in turn."""
    if emails and "@" in text:
        turn = itertools.cycle(emails)
        parts, done = [], 0
        for start, stop in _email_spans(text):
            parts += [text[done:start], next(turn)]
            done = stop
        text = "".join([*parts, text[done:]])
    if ips and "." in text:
        addresses = itertools.cycle(ips)
        text = _IP.sub(lambda match: next(addresses) if _public(match.group()) else match.group(), text)
    return text


@dataclass(frozen=True, eq=False)
class PersonalData(TextScorer):
    """How many e-mail addresses and public IP addresses a text has: `Score(pii=PersonalData())`."""

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """`emails` and `ips`, int32."""
        return {"emails": pa.int32(), "ips": pa.int32()}

    def score(self, batch: pa.RecordBatch) -> Scored:
        """The counts of each text; null for null."""
        return score_texts(
            batch.column(self.text), lambda text: (len(emails_in(text)), len(ips_in(text))), self.columns
        )


@dataclass(frozen=True, eq=False)
class Masked(Config):
    """The text without personal data: `Edit(text=Masked())`."""

    text: str = "text"
    emails: tuple[str, ...] = EMAILS
    ips: tuple[str, ...] = IPS
    version: int = 1

    @property
    def reads(self) -> tuple[str, ...]:
        """The text role."""
        return (self.text,)

    def edit(self, batch: pa.RecordBatch) -> pa.Array:
        """The masked text of each row; null for null."""
        texts = batch.column(self.text).to_pylist()
        return pa.array([None if text is None else masked(text, self.emails, self.ips) for text in texts], pa.string())
