r"""The final answer in what a model said: boxed, on a line that begins with "Answer:", or the last line.

The order is that of DatBench (`extract_final_answer`, datbench/datasets_scoring/evaluation_utils/erma_utils.py, commit
bd2ecaf): `<|begin_of_box|>...<|end_of_box|>`, `\boxed{...}`, a line `Answer: ...` or `Final answer: ...`, the last line
that is not blank; of several of a kind the last. Differences, each on purpose:

* braces in a box are paired, so that `\boxed{\frac{1}{2}}` is `\frac{1}{2}` and not `\frac{1`, and `\text{B}` is `B`;
* marks of Markdown around the label are no part of it (`**Answer:** B`);
* a box that is empty or never closed is passed over;
* of `<|begin_of_box|>` twice before one end, the text after the second is taken.

Everything is linear in the text: no pattern is tried at each of a run of blanks, backslashes or braces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_BOX, _BEGIN, _END = "\\boxed{", "<|begin_of_box|>", "<|end_of_box|>"
_TAGS = ("answer", "final_answer", "final")
_PLACEHOLDERS = frozenset({"<answer>", "<final>", "<final answer>", "<final_answer>", "< answer >"})
_LABEL = re.compile(r"(?:final {1,4})?answer {0,4}:", re.IGNORECASE)
_BRACE = re.compile(r"[{}]")
_STYLE = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\{([^{}]*)\}")


def final_answer(said: str) -> str:
    r"""The short answer that a model's text comes to: one line, blanks collapsed, quotation marks around it gone.

    Empty where there is none, and where a model repeats the placeholder of its prompt (`<answer>`).

    >>> final_answer("It has four wheels.\nAnswer: a car")
    'a car'
    >>> final_answer(r"so it is \boxed{\text{B}}, as said")
    'B'
    """
    for found in (_tagged(said), boxed(said), _labelled(said)):
        if found is not None:
            return _clean(found)
    return _clean(_last_line(said))


def _tagged(said: str) -> str | None:
    end = said.rfind(_END)
    begin = said.rfind(_BEGIN, 0, max(end, 0))
    return None if begin < 0 else said[begin + len(_BEGIN) : end]


def boxed(said: str) -> str | None:
    r"""What the last `\boxed{...}` holds that is closed and not blank; None without any.

    Each is looked for up to the next one only: where that is not closed, the one around it is not either.
    """
    stop, begin = len(said), said.rfind(_BOX)
    while begin >= 0:
        inside = begin + len(_BOX)
        end = _closing(said, inside, stop)
        if end is not None and said[inside:end].strip():
            return said[inside:end]
        stop, begin = begin, said.rfind(_BOX, 0, begin)
    return None


def _closing(said: str, begin: int, stop: int) -> int | None:
    depth = 1
    for brace in _BRACE.finditer(said, begin, stop):
        depth += 1 if brace.group() == "{" else -1
        if not depth:
            return brace.start()
    return None


def _labelled(said: str) -> str | None:
    """What follows the last "Answer:" that begins a line, on that line or else on the next that is not blank."""
    after = ""
    for line in _lines_from_the_end(said) if "nswer" in said or "NSWER" in said else ():
        text = line.strip().lstrip("*#> ")
        label = _LABEL.match(text)
        if label:
            return text[label.end() :].strip("* ") or after
        after = text or after
    return None


def _lines_from_the_end(said: str) -> Iterator[str]:
    """One at a time: a list of the lines of a long text takes many times its size."""
    stop = len(said)
    while stop >= 0:
        start = said.rfind("\n", 0, stop)
        yield said[start + 1 : stop]
        stop = start


def _last_line(said: str) -> str:
    last = next(_lines_from_the_end(said.rstrip()))
    lines = last[last.rfind("\r") + 1 :].splitlines()
    return lines[-1] if lines else ""


def _clean(text: str) -> str:
    text = _untagged(text.strip().strip("\"'` "))
    text = " ".join(_STYLE.sub(r"\1", text).split())
    return "" if text.lower() in _PLACEHOLDERS else text


def _untagged(text: str) -> str:
    """The text between `<answer>` and `</answer>`, where these are its two ends."""
    lowered = text.lower() if text.startswith("<") and text.endswith(">") else ""
    for tag in _TAGS:
        begin, end = f"<{tag}>", f"</{tag}>"
        if lowered.startswith(begin) and lowered.endswith(end):
            return text[len(begin) : len(text) - len(end)].strip()
    return text
