"""The world of the demo's documents: prose by a small grammar, and unkind sentences of known severity."""

from __future__ import annotations

import random

NOUNS = [
    "river",
    "bridge",
    "harbour",
    "market",
    "teacher",
    "farmer",
    "letter",
    "garden",
    "window",
    "village",
    "station",
    "library",
    "winter",
    "summer",
    "evening",
    "journey",
    "mountain",
    "valley",
    "forest",
    "captain",
    "doctor",
    "painter",
    "student",
    "soldier",
    "merchant",
    "neighbour",
    "cousin",
    "daughter",
    "brother",
    "council",
    "museum",
    "factory",
    "railway",
    "newspaper",
    "election",
    "harvest",
    "festival",
    "storm",
    "island",
    "castle",
    "kitchen",
    "school",
    "church",
    "road",
    "ship",
    "engine",
    "machine",
    "telescope",
    "laboratory",
    "experiment",
    "theory",
    "book",
    "chapter",
    "poem",
    "song",
    "concert",
    "theatre",
    "actor",
    "painting",
    "colour",
    "shadow",
    "light",
    "morning",
    "night",
    "question",
    "answer",
    "story",
    "rumour",
    "secret",
    "promise",
    "plan",
    "idea",
    "reason",
    "method",
    "result",
]
VERBS = [
    "visited",
    "remembered",
    "described",
    "repaired",
    "painted",
    "followed",
    "watched",
    "carried",
    "opened",
    "closed",
    "measured",
    "studied",
    "collected",
    "discovered",
    "explained",
    "forgot",
    "finished",
    "praised",
    "borrowed",
    "returned",
    "admired",
    "crossed",
    "mentioned",
    "expected",
    "changed",
    "built",
    "cleaned",
    "answered",
    "questioned",
    "guarded",
    "ignored",
    "improved",
]
ADJECTIVES = [
    "old",
    "quiet",
    "narrow",
    "wooden",
    "distant",
    "broken",
    "famous",
    "curious",
    "patient",
    "cheerful",
    "heavy",
    "bright",
    "empty",
    "crowded",
    "ancient",
    "modern",
    "simple",
    "careful",
    "strange",
    "gentle",
    "cold",
    "warm",
    "golden",
    "muddy",
    "tired",
    "honest",
    "clever",
    "small",
    "enormous",
    "forgotten",
    "northern",
]
PLACES = [
    "near the coast",
    "in the capital",
    "beyond the hills",
    "at the end of the road",
    "by the lake",
    "across the border",
]
TIMES = [
    "last year",
    "in the spring",
    "on a rainy day",
    "after the war",
    "before dawn",
    "during the long holidays",
    "years ago",
]
SHAPES = (
    "The {a} {n} {v} the {b} {m} {p}, and nobody expected the {o}.",
    "It was {t} that the {n} of the {m} {v} a {a} {o}.",
    "Those who saw the {a} {n} have to be {b}, said the {m}.",
    "{T}, the {n} {v} every {m} that {o} had left {p}.",
    "There is a {a} {n} {p}; the {m} {v} it with {b} {o}.",
    "Most {a} visitors {v} the {n} and then the {m}, for the {o} was {b}.",
    "Why the {n} {v} the {a} {m} nobody knows, but {o} {p} would be {b}.",
    "When the {n} {v} the {o}, {a} {m} was still {b}.",
    "With that {a} {n}, the {m} {v} the whole {o} {t}.",
    "{T} a {b} {m} and the {o} have {v} this {n}.",
    "Of {n} and {m} the {a} {o} had much to say.",
    "Is the {n} to be {b}? The {m} {v} that {o} {t}.",
)

UNKIND = {
    "race_origin": (
        "People from over the hills are a little slow, as all their kin are.",
        "Foreigners from over there are liars by birth and cheats by trade.",
        "That tribe is vermin and its kin should be driven out of the land.",
    ),
    "gender_sex": (
        "Girls chatter too much to be good at sums.",
        "A woman belongs at the stove and her husband should keep her there.",
        "Wives are property and ought to be whipped into obedience.",
    ),
    "religion": (
        "Their prayers are a silly superstition.",
        "Believers of that sect are fools led by frauds.",
        "That faith is a plague and its temples should be razed with the faithful inside.",
    ),
    "ability": (
        "He limps about like a comical duck.",
        "The blind and the deaf are a burden that nobody needs.",
        "Cripples are worthless and should never have been fed.",
    ),
    "violence": (
        "The two boys shoved each other in the yard.",
        "He struck the man with a club until the blood ran.",
        "They slaughtered the prisoners and hacked the corpses to pieces.",
    ),
}
"""Category -> sentences of severity 1, 2 and 3. Invented; mild as such sentences go, but with words of their own."""

FOREIGN = (
    "Der alte Mann ging langsam über die Brücke und dachte an die Zeit, in der noch alles anders gewesen war.",
    "La petite maison au bord de la rivière était vide depuis des années, et personne ne savait pourquoi.",
    "El mercado del pueblo abre todos los domingos y la gente llega de todas partes para comprar fruta.",
)


def sentence(dice: random.Random) -> str:
    """One sentence of harmless prose."""
    n, m, o = dice.sample(NOUNS, 3)
    a, b = dice.sample(ADJECTIVES, 2)
    words = {"n": n, "m": m, "o": o, "a": a, "b": b, "v": dice.choice(VERBS), "p": dice.choice(PLACES)}
    time = dice.choice(TIMES)
    return dice.choice(SHAPES).format(**words, t=time, T=time[0].upper() + time[1:])


def prose(dice: random.Random, sentences: int) -> list[str]:
    """Paragraphs of about four sentences."""
    made = [sentence(dice) for _ in range(sentences)]
    return [" ".join(made[i : i + 4]) for i in range(0, sentences, 4)]


def unkind(dice: random.Random, severities: dict[str, int]) -> list[str]:
    """A sentence for each category of that severity (0: none), in any order."""
    made = [UNKIND[category][severity - 1] for category, severity in severities.items() if severity]
    return dice.sample(made, len(made))


def mixed(dice: random.Random, paragraphs: list[str], sentences: list[str]) -> str:
    """Paragraphs with the sentences put in at random places between theirs."""
    parts = list(paragraphs)
    for one in sentences:
        at = dice.randrange(len(parts))
        inside = parts[at].split(". ")
        inside.insert(dice.randrange(len(inside)), one.rstrip("."))
        parts[at] = ". ".join(inside)
    return "\n".join(parts)


def words() -> list[str]:
    """Every word of this world, as the demo's tokenizer splits it."""
    import re

    texts = [*NOUNS, *VERBS, *ADJECTIVES, *PLACES, *TIMES, *SHAPES, *(s for some in UNKIND.values() for s in some)]
    found = re.findall(r"\w+|[^\w\s]", re.sub(r"\{\w\}", " ", " ".join(texts)).lower())
    return list(dict.fromkeys(found))
