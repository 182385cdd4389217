"""Real documents that every machine with Python has, and built ones with what goes wrong."""

from __future__ import annotations

import ast
import functools
import random
import sysconfig
from collections.abc import Iterator
from pathlib import Path

LONGEST = 5000


@functools.cache
def real(count: int) -> tuple[str, ...]:
    """A third docstrings, a third package documents (readmes, licences), the rest sources, in a fixed order."""
    library, packages = (Path(sysconfig.get_paths()[name]) for name in ("stdlib", "purelib"))
    sources = [
        path
        for path in sorted(library.rglob("*.py"))
        if packages not in path.parents and "site-packages" not in path.parts
    ]
    names = ("METADATA", "*.md", "*.rst", "*.txt", "LICENSE*", "*.html")
    papers = sorted({path for name in names for path in packages.rglob(name) if path.is_file()})
    third = count // 3 + 1
    texts = [*_some(_docstrings(sources), third), *_some(map(_text, papers), third)]
    return tuple([*texts, *_some(map(_text, sources), count - len(texts))][:count])


def _some(texts: Iterator[str], count: int) -> list[str]:
    found = []
    for text in texts:
        if len(text) >= 200:
            found.append(text if len(found) % 20 == 0 and len(text) < 50_000 else text[:LONGEST])
        if len(found) == count:
            break
    return found


def _text(path: Path) -> str:
    return path.read_text("utf-8", errors="replace")


def _docstrings(sources: list[Path]) -> Iterator[str]:
    for path in sources:
        try:
            tree = ast.parse(_text(path))
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (found := ast.get_docstring(node)):
                yield found


PROSE = (
    "The committee met on Tuesday to discuss the new rules, and most of the members were there. Nobody had expected it! "
    "Was that to be the end of the matter? It was not. They agreed that they would have to meet again with the owners."
)


@functools.cache
def built() -> tuple[str, ...]:
    """Edge cases, each in a form that would pass but for the one thing."""
    dice = random.Random(0)
    lines = [f"Sentence number {word} of the story is to be read with care and that is fine." for word in PROSE.split()]
    page = "\n".join(lines)
    edges = [
        "",
        " ",
        "\n\n",
        "x",
        ".",
        "\U0001f600" * 60,
        "\U0001f600 " * 60,
        "שלום עולם. " * 30,
        "مرحبا بالعالم؟ " * 30,
    ]
    edges += [
        "日本語の文章です。" * 40,
        "Ünïcödé wörds ànd Кириллица together " * 20,
        "a\x00b\x07 c\x1b " * 40,
        "a\x85b\u2028c " * 40,
    ]
    edges += [page.replace("\n", end) for end in ("\r\n", "\r", "\n\n", "\n \n", "\x0b", "\u2029", "\n" * 30)]
    edges += [
        page + extra
        for extra in ("\nlorem ipsum dolor.", "\nLorem  Ipsum.", "\nA { curly one.", "\nUse JavaScript now.")
    ]
    edges += [
        page + extra
        for extra in ("\nUse JavaScript { now.", "\n{ lorem ipsum here.", "\nOur privacy policy is here now.")
    ]
    edges += [
        page.replace("care", f"care{mark}") for mark in ("[1]", "[edit]", "[citation needed]", "[12345]", "[]", "[x]")
    ]
    edges += [
        page.replace("fine.", f"fine{mark}")
        for mark in ("", "...", "…", '."', ".'", ". [1]", ".  [2]", "!?", ".\t", "。")
    ]
    edges += [f"{mark} " + page.replace("\n", f"\n{mark} ") for mark in ("-", "•", "*", "#", "##", "...", "  -", "\t•")]
    edges += ["\n".join([page, "w" * n + " is long and to be dropped."]) for n in (999, 1000, 1001, 5000)]
    edges += [page[: n * 80] + "\n\n" + page[: n * 80] for n in range(1, 8)]
    edges += [" ".join(["the be to of and"] * n) for n in (1, 9, 10, 11, 30)]
    edges += [" ".join(dice.choices("abcdefg", k=n)) for n in (1, 2, 3, 4, 5, 9, 10, 11, 60, 400)]
    edges += [" ".join(dice.choices(["ab", "c", "a", "bc", "abc"], k=n)) for n in (60, 400)]
    edges += [
        PROSE + f" {word}" * n for n in (1, 10, 40) for word in ("same", "don't", "U.S.A.", "e.g.", "12:30", "(ok)")
    ]
    edges += ["word " * n + "." for n in (48, 49, 50, 51)] + [PROSE + "." * n for n in (1, 3, 4, 50)]
    edges += [PROSE.replace(" ", gap) for gap in ("  ", "\t", "\xa0", "\u3000", " \n", "\u200b", "")]
    edges += [
        f"{PROSE}\n{mark}\n{PROSE}"
        for mark in (". ?", ".  . .", "? ! a", '"', "...", ".\t\t.", "Mr. Smith", "1. 2. 3.")
    ]
    return tuple(edges)
