"""Judges over batches, on a real server: prompts, images, replies, repeats, nulls."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from poolsieve.scoring_models import Endpoint, Judge
from poolsieve.scoring_models.base.config import base_folder
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.scorer import Scored
from poolsieve.scoring_models.endpoints.items import VERDICTS
from poolsieve.scoring_models.endpoints.judge import MOST_CHARS
from poolsieve.scoring_models.feeding.driver import score_rows
from tests.chat import Chat, Sent, said, text_of

NOBODY = Endpoint("http://127.0.0.1:9", "m")
QUALITY = {"quality": "float32"}


def scored(judge: Judge, **columns: Any) -> Scored:
    return score_rows(judge, pa.record_batch(columns), judge.columns, threads=1)


def picture(kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 3), (200, 30, 30)).save(out, kind, **options)
    return out.getvalue()


def test_a_rows_text_is_data_and_the_prompt_says_what_to_reply() -> None:
    with Chat(lambda asked: said('{"quality": 3, "why": "x"}')) as chat:
        judge = Judge(
            Endpoint(chat.url, "m"), 'Rate {text}. Like {"a": 1} or {{text}}.', columns=QUALITY, least=0, most=5
        )
        made = scored(judge, text=["{text} {quality} {0} %s $text {{text}} \\1 \\g<0>", None, ""])
    assert made.columns["quality"].to_pylist() == [3.0, None, 3.0] and not made.errors
    assert made.columns["reply"].to_pylist()[:2] == [{"text": '{"quality": 3, "why": "x"}', "cut": False}, None]
    ending = '\n\nReply with one JSON object and nothing else. Its keys: "quality" (a number from 0 to 5).'
    shown = 'Rate {text} {quality} {0} %s $text {{text}} \\1 \\g<0>. Like {"a": 1} or {text}.' + ending
    assert shown in chat.asked and len(chat.requests) == 2


def test_what_cant_be_read_is_asked_for_once_more() -> None:
    def answer(asked: dict[str, Any]) -> Sent:
        text = str(asked["messages"][0]["content"])
        if len(asked["messages"]) > 1 and "second" in text:
            return said('{"quality": 2}')
        return said('{"quality": 9}' if "far" in text else "Well, hmm.\n" * 50, finish_reason="length")

    with Chat(answer) as chat:
        judge = Judge(Endpoint(chat.url, "m"), "{text}", columns=QUALITY, least=0, most=5)
        made = scored(judge, text=["second", "never", "far"])
        assert len(chat.requests) == 6
        again = [asked["messages"] for asked in chat.requests if len(asked["messages"]) > 1]
    assert [[one["role"] for one in messages] for messages in again] == [["user", "assistant", "user"]] * 3
    assert made.columns["quality"].to_pylist() == [2.0, None, None]
    assert {made.errors[row].kind for row in (1, 2)} == {"judge_unreadable"}
    assert 'no JSON object with "quality" (cut short by max_tokens): \'Well, hmm. Well' in made.errors[1].message
    assert '"quality" is 9, not from 0 to 5' in made.errors[2].message
    assert made.columns["reply"].to_pylist()[1:] == [None, None]


def test_a_long_text_is_cut_and_the_reply_says_so() -> None:
    with Chat(lambda asked: said('{"quality": 1}')) as chat:
        judge = Judge(Endpoint(chat.url, "m"), "{text}", columns=QUALITY)
        made = scored(judge, text=pa.array(["é" * 10_000_000, "x" * MOST_CHARS], pa.large_string()))
        assert sorted(len(text) for text in chat.asked)[1] < MOST_CHARS + 200
    assert [one["cut"] for one in made.columns["reply"].to_pylist()] == [True, False]
    assert Judge(NOBODY, "{text}", columns=QUALITY, max_chars=50).to_dict()["max_chars"] == 50


def test_several_columns_lists_and_no_reply_kept() -> None:
    with Chat(lambda asked: said('{"kind": "poem", "stars": 4, "safe": "yes"}')) as chat:
        columns = {"kind": "string", "stars": "int8", "safe": "bool"}
        judge = Judge(
            Endpoint(chat.url, "m"),
            "{title}: {tags} {n}",
            columns=columns,
            reads=("title", "tags", "n"),
            keep_reply=False,
        )
        made = scored(judge, title=["a"], tags=[["x", "y"]], n=[3])
        assert next(iter(chat.asked)).startswith("a: - x\n- y 3\n\nReply")
    assert {name: values.to_pylist() for name, values in made.columns.items()} == {
        "kind": ["poem"], "stars": [4], "safe": [True]
    }  # fmt: skip


VERDICT = '{"ground_truth_wrong": false, "question_is_ambiguous": true, "needs_high_resolution": "no", "reason": "r"}'


def test_the_judge_of_items_sees_image_question_and_answer() -> None:
    images = [picture("JPEG"), picture("PNG"), picture("WEBP", lossless=True), picture("GIF"), b"no image", None]
    with Chat(lambda asked: said(VERDICT)) as chat:
        judge = Judge(Endpoint(chat.url, "m"))
        assert judge.reads == ("image", "question", "answer") and tuple(judge.columns) == (*VERDICTS, "reply")
        made = scored(judge, image=images, question=[f"Q{i}?" for i in range(6)], answer=["gold"] * 6)
        sent = {text_of(asked): asked["messages"][0]["content"] for asked in chat.requests}
    assert made.columns["question_is_ambiguous"].to_pylist() == [True] * 4 + [None] * 2
    assert made.columns["needs_high_resolution"].to_pylist() == [False] * 4 + [None] * 2
    assert made.errors.keys() == {4} and made.errors[4].kind == "image_decode"
    by_row = {i: next(parts for text, parts in sent.items() if f"Q{i}?" in text and "gold" in text) for i in range(4)}
    urls = {i: parts[0]["image_url"]["url"] for i, parts in by_row.items()}
    kinds = ["data:image/jpeg;base64,", *["data:image/png;base64,"] * 3]
    assert [urls[i].startswith(kinds[i]) for i in range(4)] == [True] * 4
    data = {i: base64.b64decode(url.partition(",")[2]) for i, url in urls.items()}
    assert [data[0], data[1]] == images[:2]  # byte for byte
    assert Image.open(io.BytesIO(data[2])).convert("RGB").getpixel((1, 1)) == (200, 30, 30)


def test_items_of_text_alone_with_options() -> None:
    with Chat(lambda asked: said(VERDICT)) as chat:
        judge = Judge(Endpoint(chat.url, "m"), image=None, options="options")
        scored(judge, question=["What?"], answer=["b"], options=[["a", "b"]])
        prompt = next(iter(chat.asked))
        assert isinstance(chat.requests[0]["messages"][0]["content"], str)
    assert "Options:\n- a\n- b\n" in prompt and "Kept answer:\nb\n" in prompt and "this item has no image" in prompt
    assert "{" not in prompt.replace("{text}", "")


def test_a_prompt_with_an_image() -> None:
    with Chat(lambda asked: said('{"quality": 1}')) as chat:
        judge = Judge(Endpoint(chat.url, "m"), "Caption: {text}", columns=QUALITY, reads=("image", "text"))
        scored(judge, image=[picture("PNG")], text=["a cat"])
        assert [part["type"] for part in chat.requests[0]["messages"][0]["content"]] == ["image_url", "text"]


def test_a_rubric_is_known_by_its_contents(tmp_path: Path) -> None:
    for name, text in (("a", "Rate {text}"), ("b", "Rate {text}"), ("c", "Rate {text}!")):
        (tmp_path / f"{name}.md").write_text(text)
    a, b, c = (Judge(NOBODY, str(tmp_path / f"{name}.md"), columns=QUALITY) for name in "abc")
    assert a == b != c and a == Judge(NOBODY, "Rate {text}", columns=QUALITY)
    with base_folder(str(tmp_path)):
        assert Judge(NOBODY, "a.md", columns=QUALITY) == a
    assert str(tmp_path) not in str(a.to_dict())


def test_an_answer_depends_on_model_prompt_and_columns_not_on_the_address() -> None:
    one = Judge(NOBODY, "{text}", columns=QUALITY)
    moved = Endpoint("https://elsewhere/v1", "m", key="A_KEY", price=(1, 1))
    assert one == Judge(moved, "{text}", columns={"quality": pa.float32()})
    other = (
        Judge(Endpoint("http://a", "n"), "{text}", columns=QUALITY),
        Judge(NOBODY, "{text}.", columns=QUALITY),
        Judge(NOBODY, "{text}", columns={"quality": "float64"}),
        Judge(NOBODY, "{text}", columns=QUALITY, most=5),
        Judge(Endpoint("http://a", "m", temperature=1), "{text}", columns=QUALITY),
    )
    assert one not in other and len(set(other)) == len(other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": "Rate this", "columns": QUALITY}, "no place {text}"),
        ({"prompt": "{tekst} {text}", "columns": QUALITY}, "Did you mean 'text'"),
        ({"prompt": "{text}"}, "needs columns"),
        ({"prompt": "{text}", "columns": {"a": "float33"}}, "'float33'"),
        ({"prompt": "{text}", "columns": {"a": pa.list_(pa.int8())}}, "bool, string, an integer or a float"),
        ({"prompt": "nowhere.md", "columns": QUALITY}, "can't read its rubric"),
        ({"prompt": "  ", "columns": QUALITY}, "needs a prompt"),
        ({"prompt": "{text}", "columns": QUALITY, "reads": "text"}, "reads=\\('text',\\)"),
        ({"prompt": "{text}", "columns": QUALITY, "max_chars": 0}, "max_chars"),
        ({"columns": QUALITY}, "needs a prompt"),
        ({"endpoint": "http://a"}, "give an endpoint"),
    ],
)
def test_judges_that_cant_work_are_refused(arguments: Mapping[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message.replace("{", "\\{").replace("}", "\\}")):
        Judge(**{"endpoint": NOBODY, **arguments})


def test_roles_of_the_wrong_kind_are_refused() -> None:
    with pytest.raises(PlanError, match="'image' as an image, but it is string"):
        Judge(NOBODY).check_role("Score(j)", "image", pa.string())
    with pytest.raises(PlanError, match="'answer' as text, but it is binary"):
        Judge(NOBODY).check_role("Score(j)", "answer", pa.binary())


def test_an_endpoint_may_be_a_mapping_as_in_yaml() -> None:
    given = {"url": "http://127.0.0.1:9/v1", "model": "m"}
    assert Judge(given, "{text}", columns=QUALITY) == Judge(NOBODY, "{text}", columns=QUALITY)  # type: ignore[arg-type]
    for wrong, message in (({"url": "http://a"}, "needs 'model'"), ({**given, "modell": 1}, "Did you mean 'model'")):
        with pytest.raises(PlanError, match=message):
            Judge(wrong, "{text}", columns=QUALITY)  # type: ignore[arg-type]
