"""The DSL, every rule, every ready-made stage and the model-free statistics. Never imports Beam."""

from poolsieve.filters import c4, datacomp, dedup, fineweb, gopher, labels, lines, suite
from poolsieve.filters.decontamination import decontaminate
from poolsieve.filters.dsl.edits import Edit, editor
from poolsieve.filters.dsl.expr import col, larger, smaller
from poolsieve.filters.dsl.stages import Above, Below, Drop, Keep, Score, all_of, any_of
from poolsieve.filters.dsl.top import Top
from poolsieve.filters.importance import Dsir, dsir
from poolsieve.filters.languages import language
from poolsieve.filters.lists import In
from poolsieve.filters.networks import dfn
from poolsieve.filters.open_ended import OpenEnded, RightText
from poolsieve.filters.pii import Masked, PersonalData
from poolsieve.filters.repeat import Repeat
from poolsieve.filters.sketches import ExactHash, ImageHash, TextSketch
from poolsieve.filters.toxicity import celadon
from poolsieve.filters.unique import Cap, Unique
from poolsieve.filters.url_lists import urls
from poolsieve.scoring_models.base.functions import scorer

__all__ = [
    "Above",
    "Below",
    "Cap",
    "Drop",
    "Dsir",
    "Edit",
    "ExactHash",
    "ImageHash",
    "In",
    "Keep",
    "Masked",
    "OpenEnded",
    "PersonalData",
    "Repeat",
    "RightText",
    "Score",
    "TextSketch",
    "Top",
    "Unique",
    "all_of",
    "any_of",
    "c4",
    "celadon",
    "col",
    "datacomp",
    "decontaminate",
    "dedup",
    "dfn",
    "dsir",
    "editor",
    "fineweb",
    "gopher",
    "labels",
    "language",
    "larger",
    "lines",
    "scorer",
    "smaller",
    "suite",
    "urls",
]
