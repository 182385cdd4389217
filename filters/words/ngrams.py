"""Repeated n-grams of many documents at once: words lie end to end, and one sort finds what repeats in any document.

NumPy takes longer to be called than to work on one short document, hence the groups. Hashes only propose: what is
counted has been compared word by word or character by character.

Three kinds of index occur. A *place* is a word's position in the group, and stands for the n-gram that begins there. A
*rank* is a position in the list of places sorted by their n-grams' hashes (`ordered`), where equal n-grams are
neighbours. A *character* is a position in `joined`, the words without blanks. Here "to be or to be" and "or to be":

    place      0   1   2   3   4 | 5   6   7        the bar is where the second document begins
    word       to  be  or  to  be| or  to  be
    document   0   0   0   0   0 | 1   1   1        starts   0, 5, 8
    character  0   2   4   6   8 | 10  12  14       offsets  0, 2, 4, ... 16

2-grams begin at places 0 1 2 3 and 5 6: at 4 and 7 one would leave its document. By their hashes they may come as

    rank       0      1      2      3      4      5
    ordered    1      2      5      0      3      6       (places)
    n-gram     be or  or to  or to  to be  to be  to be
    same       no     no     no     yes    no     no      (as the next rank, in the same document)

so the one 2-gram that a document has twice is that of places 0 and 3. `top_characters`: twice "to be", blank included,
is 10 characters of the first document; in the second all are equally frequent, and the first, "or to", has 5.
`duplicate_characters`: "tobe" at place 3 was read before, at place 0: 4 characters, and none of the second document.

    >>> ids = np.array([7, 8, 9, 7, 8, 9, 7, 8], dtype=np.uint64)
    >>> document = np.array([0, 0, 0, 0, 0, 1, 1, 1])
    >>> group = Group(ids, document, np.array([0, 5, 8]), np.arange(0, 17, 2), "tobeortobeortobe")
    >>> group.places(2).tolist()
    [0, 1, 2, 3, 5, 6]
    >>> top_characters(group, [2])[2].tolist(), duplicate_characters(group, [2])[2].tolist()
    ([10, 5], [4, 0])
"""

from __future__ import annotations

import functools
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from poolsieve.filters.words.tokenizer import Bools, Ints, Words

GROUP = 1 << 16
"""Words of a group, unless one document has more."""

CHARACTERS = 1 << 16
"""Characters whose hashes are in memory at a time, 8 bytes each and several times over."""

PREFIX = 16
"""Characters that two n-grams of at least that length must share to be equal, whatever n is."""

Hashes = np.ndarray[Any, np.dtype[np.uint64]]
_BASE = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xD6E8FEB86659FD93)


class Group(NamedTuple):
    """Documents end to end.

    Attributes:
        ids: uint64 (n,): equal numbers are equal words, within a document.
        document: int64 (n,): which document a word is of.
        starts: int64 (documents + 1,): where each document begins.
        offsets: int64 (n + 1,): where each word begins in `joined`.
        joined: all words without blanks.
    """

    ids: Hashes
    document: Ints
    starts: Ints
    offsets: Ints
    joined: str

    def places(self, size: int) -> Ints:
        """Where an n-gram of that size begins that lies in one document."""
        last = self.document[size - 1 :]
        return np.flatnonzero(self.document[: len(last)] == last)

    def inside(self, places: Ints, size: int) -> Bools:
        """Whether an n-gram of that size that begins at a place lies in one document."""
        return places + size <= self.starts[self.document[places] + 1]

    def string(self, place: Any, size: int) -> str:
        """The n-gram at a place, without blanks."""
        return self.joined[self.offsets[place] : self.offsets[place + size]]


def groups(documents: Sequence[Words]) -> Iterator[Group]:
    """The documents in order, as groups of about `GROUP` words."""
    some: list[Words] = []
    count = 0
    for words in documents:
        if some and count + len(words) > GROUP:
            yield _group(some)
            some, count = [], 0
        some.append(words)
        count += len(words)
    if some:
        yield _group(some)


def _group(documents: Sequence[Words]) -> Group:
    counts = np.array([len(words) for words in documents], dtype=np.int64)
    lengths = np.concatenate([words.lengths for words in documents])
    return Group(
        np.concatenate([words.ids for words in documents]).astype(np.uint64),
        np.repeat(np.arange(len(counts)), counts),
        np.concatenate([[0], np.cumsum(counts)]),
        np.concatenate([[0], np.cumsum(lengths)]),
        "".join([words.joined for words in documents]),
    )


def top_characters(group: Group, sizes: Sequence[int]) -> dict[int, Ints]:
    """n -> for each document: characters (blanks between words included) of all copies of its most frequent n-gram.

    Among equally frequent ones the first in the text counts. 0 where a document has fewer than n words.
    """
    found: dict[int, Ints] = {}
    codes, n = group.ids * _BASE, 1  # place -> hash of the n-gram there, made longer by one word at a time
    # An n-gram can only repeat where both of its (n-1)-grams do. For each size few places are left to sort.
    likely = np.ones(len(codes), dtype=bool)
    for size in sorted(sizes):
        while n < size:
            codes, n = codes[:-1] * _MIX + group.ids[n:] * _BASE, n + 1
            likely = likely[:-1] & likely[1:]
        places = group.places(size)
        found[size], again = _top_of_size(group, codes, places[likely[places]], size)
        likely = np.zeros(len(codes), dtype=bool)
        likely[again] = True
    return found


def _top_of_size(group: Group, codes: Hashes, places: Ints, size: int) -> tuple[Ints, Ints]:
    """(for each document what `top_characters` says of one size, the places at which n-grams repeat).

    `codes` are hashes by place. Of `places` those may be missing whose n-grams stand once in their document.
    """
    places = places[_crowded(codes[places])]
    ordered, same = _sorted(group, codes[places], places)
    first, most = _most_frequent(group, ordered, same)
    # Two n-grams with one hash look like one that is more frequent. That matters only where it made a winner, and such
    # a winner has fewer true copies than was counted; these documents are counted again without hashes.
    several = np.flatnonzero(most > 1)
    for document in several[_copies(group, places, first, size)[several] != most[several]]:
        first[document], most[document] = _counted(group, int(document), size)
    # From places to characters: the n-gram's own, and a blank between each two of its words.
    there = np.flatnonzero(np.diff(group.starts) >= size)
    made = np.zeros(len(first), dtype=np.int64)
    lengths = group.offsets[first[there] + size] - group.offsets[first[there]] + size - 1
    made[there] = lengths * most[there]
    return made, ordered[_repeated(same)]


def _most_frequent(group: Group, ordered: Ints, same: Bools) -> tuple[Ints, Ints]:
    """For each document (place, count) of its most frequent code; of several, the one that comes first."""
    # Where nothing repeats, the document's first n-gram is the most frequent one.
    first, most = group.starts[:-1].copy(), np.ones(len(group.starts) - 1, dtype=np.int64)
    # A run of k ranks that are each like the next is one n-gram k + 1 times. `same` ends with False, so runs do end.
    edges = np.diff(same.astype(np.int8), prepend=0)
    begin, end = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    starts, counts = ordered[begin], end - begin + 1  # within a run places ascend, so its first rank has the first one
    document = group.document[starts]
    np.maximum.at(most, document, counts)
    best = counts == most[document]
    first[document[best]] = len(group.document)  # beyond every place, so that the minimum below is over runs alone
    np.minimum.at(first, document[best], starts[best])
    return first, most


def _sorted(group: Group, hashes: Hashes, places: Ints) -> tuple[Ints, Bools]:
    """(`ordered`, `same`): places by their hashes and then their own order; whether each rank is as the next.

    `same` holds where hash and document are those of the next rank; it is False at the last. One sort of plain numbers:
    the places are in the low bits, in the stead of the hashes' own, which is several times as fast as an argsort.
    """
    bits = np.uint64(max(int(places[-1]).bit_length() if len(places) else 0, 1))
    low = (np.uint64(1) << bits) - np.uint64(1)
    keys = (hashes & ~low) | places.astype(np.uint64)
    keys.sort()
    ordered = (keys & low).astype(np.int64)
    same = np.zeros(len(keys), dtype=bool)
    same[:-1] = keys[1:] ^ keys[:-1] <= low  # they differ at most in the bits of the places
    if len(group.starts) > 2:  # a long document is alone, and needs no arrays of its length here
        like = np.flatnonzero(same)
        same[like] = group.document[ordered[like]] == group.document[ordered[like + 1]]
    return ordered, same


def _copies(group: Group, places: Ints, first: Ints, size: int) -> Ints:
    """For each document: n-grams that are, word by word, the one at its place `first`."""
    same = np.ones(len(places), dtype=bool)
    wanted = first[group.document[places]]
    for i in range(size):
        same &= group.ids[i:][places] == group.ids[i:][wanted]
    return np.bincount(group.document[places[same]], minlength=len(first))


def _counted(group: Group, document: int, size: int) -> tuple[int, int]:
    """(place, count) of a document's most frequent n-gram, for the document in which two share a hash."""
    start, stop = group.starts[document : document + 2].tolist()
    ids = group.ids[start:stop].tolist()
    grams = [tuple(ids[i : i + size]) for i in range(len(ids) - size + 1)]
    gram, most = Counter(grams).most_common(1)[0]
    return start + grams.index(gram), most


def duplicate_characters(group: Group, sizes: Sequence[int]) -> dict[int, Ints]:
    """n -> for each document: characters of the n-grams (without blanks) that stood in it before.

    A reading from left to right that jumps over what it counts. n-grams are compared as strings without blanks, as
    datatrove does it.
    """
    begins, text = group.offsets, group.joined  # place -> character; `begins[place + size]` is where an n-gram ends
    # The hash of a string is a difference of prefix hashes, times a power of the base by which equal strings have equal
    # hashes wherever they stand: each counts as if it began at the end of the text.
    hashes, heads = _prefix_hashes(text, begins, np.minimum(begins[:-1] + PREFIX, len(text)))
    scale = _powers_at(len(text) - begins[:-1])
    # Equal n-grams of PREFIX characters or more begin alike. One sort of these heads serves all sizes, and leaves few
    # places to each. (Near the end of a document a head reaches into the next one: no n-gram that long begins there.)
    heads -= hashes[:-1]
    heads *= scale
    crowded = np.flatnonzero(_crowded(heads))
    ordered, same = _sorted(group, heads[crowded], crowded)
    likely = np.zeros(len(heads), dtype=bool)
    likely[ordered[_repeated(same)]] = True
    found, places = {}, np.arange(len(heads))
    del heads, crowded, ordered, same  # of a document of 16 MB each of them takes as much
    for size in sorted(sizes):
        # What is left out here is left out of all larger sizes: an n-gram only grows with n.
        places = places[group.inside(places, size)]
        places = places[likely[places] | (begins[places + size] - begins[places] < PREFIX)]
        grams = hashes[places + size]
        grams -= hashes[places]
        grams *= scale[places]
        repeats = _stood_before(group, *_sorted(group, grams, places), size)
        found[size] = _read_jumping(group, *repeats, size)
    return found


def _crowded(hashes: Hashes) -> Bools:
    """Whether another hash has the same leading bits: counting them is quicker than sorting what stands alone."""
    bits = min(max(len(hashes).bit_length() + 2, 8), 22)
    leading = (hashes >> np.uint64(64 - bits)).astype(np.int64)
    found: Bools = np.bincount(leading, minlength=1 << bits)[leading] > 1
    return found


def _repeated(same: Bools) -> Bools:
    """Of each rank: whether it is like the one before or the one after."""
    made = same.copy()
    made[1:] |= same[:-1]
    return made


def _stood_before(group: Group, ordered: Ints, same: Bools, size: int) -> tuple[Ints, Ints]:
    """(places, ascending; first place of the same string) of the n-grams that stood in their document before."""
    later = np.flatnonzero(same) + 1  # ranks that are like the one before them
    places, before = ordered[later], ordered[later - 1]
    # Equal words are an equal string. Other words may be one too ("ab c" and "a bc"), or only share a hash: such pairs
    # are compared character by character, and a single true collision has the group done without hashes.
    unlike = np.zeros(len(later), dtype=bool)
    for i in range(size):
        unlike |= group.ids[i:][places] != group.ids[i:][before]
    pairs = zip(places[unlike], before[unlike], strict=True)
    if any(group.string(place, size) != group.string(other, size) for place, other in pairs):
        return _compared(group, np.sort(ordered), size)
    del before, unlike, pairs
    # rank -> the rank at which its run of equal hashes begins: that has the first place, since places ascend in a run.
    run_start = np.arange(len(ordered))
    run_start[later] = 0
    np.maximum.accumulate(run_start, out=run_start)
    firsts = ordered[run_start[later]]
    first_of = np.full(len(group.ids), -1)  # by place, which puts the ranks back in the order of the text
    first_of[places] = firsts
    ascending = np.flatnonzero(first_of >= 0)
    return ascending, first_of[ascending]


def _compared(group: Group, places: Ints, size: int) -> tuple[Ints, Ints]:
    """As `_stood_before`, string by string, for when two of them share a hash."""
    seen: dict[tuple[int, str], int] = {}
    keys = ((int(group.document[place]), group.string(place, size)) for place in places)
    firsts = np.array([seen.setdefault(key, place) for key, place in zip(keys, places, strict=True)], dtype=np.int64)
    return places[firsts != places], firsts[firsts != places]


def _read_jumping(group: Group, places: Ints, firsts: Ints, size: int) -> Ints:
    """For each document, characters of the n-grams that were read before, where what counts is jumped over.

    In "a b a b c b c" the 2-gram "a b" at place 2 counts, so the reading goes on at 4. "b c" at place 3 is never read,
    and the one at 5 is the first that is: it does not count.
    """
    counted = array("q")  # places of the n-grams that count
    free = 0  # the reading goes on at this place
    jumped, jump = bytearray(len(group.ids)), b"\1" * size  # place -> whether it was jumped over
    read_late = set()  # first places that were jumped over, of n-grams that were read further on
    for place, first in _pairs(places, firsts):
        if place < free:
            continue
        if jumped[first] and first not in read_late:
            # Whatever came between was jumped over as well, or `first` would be in the set: nothing was read before.
            read_late.add(first)
            continue
        counted.append(place)
        free = place + size
        jumped[place:free] = jump
    begin = np.frombuffer(counted, dtype=np.int64)
    made = np.zeros(len(group.starts) - 1, dtype=np.int64)
    np.add.at(made, group.document[begin], group.offsets[begin + size] - group.offsets[begin])
    return made


def _pairs(left: Ints, right: Ints) -> Iterator[tuple[int, int]]:
    """Both side by side, as Python's numbers, of which a few are in memory at a time."""
    for start in range(0, len(left), GROUP):
        yield from zip(left[start : start + GROUP].tolist(), right[start : start + GROUP].tolist(), strict=True)


def _prefix_hashes(text: str, *ends: Ints) -> list[Hashes]:
    """For each of `ends`, ascending: hashes of the prefixes that end there.

    The hash of a prefix is the sum of code * base^position, modulo 2^64.
    """
    made = [np.zeros(len(some), dtype=np.uint64) for some in ends]
    before = np.zeros(1, dtype=np.uint64)  # the hash of what stands before the part
    for start in range(0, len(text), CHARACTERS):
        part = text[start : start + CHARACTERS].encode("utf-32-le", "surrogatepass")
        codes = np.frombuffer(part, dtype=np.uint32) + np.uint64(1)
        codes *= _powers(CHARACTERS)[: len(codes)] * _powers_at(np.array([start]))
        hashes = np.concatenate([before, codes]).cumsum()
        for some, into in zip(ends, made, strict=True):
            first, last = np.searchsorted(some, [start + 1, start + len(codes) + 1]).tolist()
            into[first:last] = hashes[some[first:last] - start]
        before = hashes[-1:]
    return made


def _powers_at(exponents: Ints) -> Hashes:
    """The hashes' base to these powers."""
    low, high = exponents & (CHARACTERS - 1), exponents >> CHARACTERS.bit_length() - 1
    if not high.any():
        return _powers(CHARACTERS)[low]
    steps = np.full(int(high.max()) + 1, _powers(CHARACTERS)[CHARACTERS], dtype=np.uint64)  # from one part to the next
    steps[0] = 1
    return _powers(CHARACTERS)[low] * np.cumprod(steps, dtype=np.uint64)[high]


@functools.cache
def _powers(most: int) -> Hashes:
    """Powers 0 to `most` of the hashes' base."""
    made = np.full(most + 1, _BASE, dtype=np.uint64)
    made[0] = 1
    return np.cumprod(made, dtype=np.uint64)
