"""Whatever a pool calls its columns and reasons, and whatever a recipe says: the card shows it and obeys nothing."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

import poolsieve
from poolsieve.dataflow.publish.contents import Parent, Subject
from poolsieve.jobs.card.body import body
from poolsieve.jobs.card.card import card_text
from poolsieve.jobs.card.front_matter import split
from poolsieve.jobs.card.markdown import cell, code, fenced, one_line, prose
from poolsieve.jobs.card.recipe_text import printed

READER = MarkdownIt("commonmark", {"html": True}).enable("table")

MARKS = st.text(alphabet="`|\\*_[]()<>!#&;-+.:/@~=$ \n\r\tabw\u202e\u2028\x00\x7f\ud800é", max_size=40)
TEXTS = st.one_of(
    MARKS,
    st.text(max_size=40),
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            "![x](https://evil.example/x.png)",
            "[x](javascript:alert(1))",
            "</code></details>",
            "```\n# title\n```",
            "a|b\\|c\\\\|d",
            "https://evil.example www.evil.example me@evil.example",
            "<!-- poolsieve:end 0123456789abcdef -->",
            "-->",
            "&lt;b&gt;",
        ]
    ),
)


def tokens(text: str) -> list[Token]:
    found = READER.parse(text)
    return [inner for one in found for inner in (one, *(one.children or ()))]


def shape(text: str) -> list[tuple[str, str]]:
    """What a page is made of, without its words: kinds of tokens, HTML, and where links and images lead."""
    return [
        (
            one.type,
            one.content if one.type.startswith("html") else str(one.attrs.get("href") or one.attrs.get("src") or ""),
        )
        for one in tokens(text)
        if one.type not in ("text", "softbreak")
    ]


@given(TEXTS)
def test_a_name_is_one_code_span(name: str) -> None:
    found = [one for one in tokens(code(name)) if one.type not in ("inline", "paragraph_open", "paragraph_close")]
    shown = one_line(name)
    if shown.strip(" "):
        assert [one.type for one in found] == ["code_inline"]
        assert found[0].content == shown
    else:
        assert [one.type for one in found] == ["em_open", "text", "em_close"]


@given(st.lists(TEXTS, min_size=2, max_size=4))
def test_a_row_of_a_table_has_its_cells(names: list[str]) -> None:
    row = "| " + " | ".join(cell(name) for name in names) + " |"
    found = tokens(f"{'| a ' * len(names)}|\n{'|---' * len(names)}|\n{row}\n")
    assert sum(one.type == "td_open" for one in found) == len(names)
    spans = [one.content for one in found if one.type == "code_inline"]
    for name, shown in zip((n for n in names if one_line(n).strip(" ")), spans, strict=True):
        # A bar that stood behind backslashes may show one more of them.
        assert re.sub(r"\\*\|", "|", shown) == re.sub(r"\\*\|", "|", one_line(name))


@given(TEXTS)
def test_prose_is_words_or_code(text: str) -> None:
    kinds = {one.type for one in tokens("- x " + prose(text).replace("\\|", "|"))}
    assert not kinds & {"html_inline", "html_block", "link_open", "image", "heading_open", "fence", "strong_open"}


@given(st.one_of(TEXTS, st.lists(TEXTS, max_size=4).map("\n".join)))
def test_nothing_ends_a_fence(text: str) -> None:
    found = READER.parse(f"<details>\n\n{fenced(text, 'python')}\n\n</details>\n\n# End\n")
    assert [one.type for one in found] == [
        "html_block",
        "fence",
        "html_block",
        "heading_open",
        "inline",
        "heading_close",
    ]


def renamed(subject: Subject, names: list[str]) -> Subject:
    """The same subject with such names in all that may come from others: as files in OUT would have them."""
    run = poolsieve.open(subject.run.url)
    summary, number = subject.run.summary, iter(names * 100)
    facts = summary.facts
    assert facts is not None
    run.__dict__["summary"] = msgspec.structs.replace(
        summary,
        reasons={f"{next(number)}{i}": rows for i, rows in enumerate(summary.reasons.values())},
        funnel=[msgspec.structs.replace(line, step=next(number)) for line in summary.funnel],
        facts=msgspec.structs.replace(
            facts,
            limits=tuple(msgspec.structs.replace(one, score=next(number)) for one in facts.limits),
            gaps=(next(number), next(number)),
            pool=msgspec.structs.replace(facts.pool, urls=(next(number),), id=next(number)),
            versions=((next(number), next(number)),),
            scorers=tuple(
                msgspec.structs.replace(one, name=f"{next(number)}{i}", files=((next(number), next(number)),))
                for i, one in enumerate(facts.scorers)
            ),
        ),
    )
    schema = pa.schema([(f"{next(number)}{i}".encode("utf-8", "replace").decode(), pa.int64()) for i in range(3)])
    index = msgspec.structs.replace(
        subject.index, warnings=(next(number), next(number)), left_out=(next(number),), unreadable=2
    )
    return dataclasses.replace(
        subject,
        run=run,
        index=index,
        tables=(dataclasses.replace(subject.tables[0], schema=schema),),
        parents=(Parent(repo=next(number) or "x", commit=next(number) or "x", license=next(number) or "x"),),
        pictures={"assets/a.png": next(number)},
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TEXTS, min_size=1, max_size=6))
def test_a_card_keeps_its_shape(subject: Subject, names: list[str]) -> None:
    plain, hostile = (body(renamed(subject, given)) for given in (["name"], names))
    wanted, found = shape(plain), shape(hostile)
    headings = [kind for kind, _ in wanted if kind in ("heading_open", "table_open", "tr_open", "td_open", "fence")]
    assert [
        kind for kind, _ in found if kind in ("heading_open", "table_open", "tr_open", "td_open", "fence")
    ] == headings
    assert [what for kind, what in found if kind.startswith("html")] == [
        what for kind, what in wanted if kind.startswith("html")
    ]
    for kind, what in found:
        if kind == "link_open":
            assert what.startswith(("https://pypi.org/project/poolsieve", "https://huggingface.co/datasets/"))
        if kind == "image":
            assert what == "assets/a.png"


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TEXTS, min_size=1, max_size=6))
def test_such_a_card_gives_itself_again(subject: Subject, names: list[str]) -> None:
    hostile = renamed(subject, names)
    text = card_text(hostile)
    assert card_text(hostile, text) == text
    text.encode()
    assert split(text).front is not None


def test_a_recipe_s_text_is_shown_whole(subject: Subject) -> None:
    source = subject.run.manifest.source
    assert source is not None and "<!-- poolsieve:end" in source.text
    text = card_text(subject)
    fences = [one for one in tokens(split(text).body) if one.type == "fence" and one.info == "python"]
    assert any(one.content == source.text for one in fences) or source.text.strip("\n") in text


@given(st.recursive(st.none() | st.integers() | TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)))
def test_any_manifest_s_recipe_prints(value: Any) -> None:
    assert printed({"pool": value, "stages": [value]}).count("\n  | ") >= 1


def test_a_deep_recipe_prints() -> None:
    deep: Any = 1
    for _ in range(900):
        deep = {"type": "Not", "of": deep}
    assert "..." in printed({"pool": deep, "stages": []})


@pytest.mark.parametrize("text", ["plain words, 12 (3.4 %)", "a/b-c", "it's"])
def test_plain_prose_stays_as_it_is(text: str) -> None:
    assert prose(text) == text
