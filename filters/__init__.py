"""The DSL, every rule, every ready-made stage and the model-free statistics. Never imports Beam."""

from poolsieve.filters import c4 as c4
from poolsieve.filters import datacomp as datacomp
from poolsieve.filters import fineweb as fineweb
from poolsieve.filters import gopher as gopher
from poolsieve.filters.decontamination import decontaminate as decontaminate
from poolsieve.filters.edits import Edit as Edit
from poolsieve.filters.edits import editor as editor
from poolsieve.filters.expr import col as col
from poolsieve.filters.expr import larger as larger
from poolsieve.filters.expr import smaller as smaller
from poolsieve.filters.languages import language as language
from poolsieve.filters.lists import In as In
from poolsieve.filters.networks import dfn as dfn
from poolsieve.filters.pii import Masked as Masked
from poolsieve.filters.pii import PersonalData as PersonalData
from poolsieve.filters.stages import Above as Above
from poolsieve.filters.stages import Below as Below
from poolsieve.filters.stages import Drop as Drop
from poolsieve.filters.stages import Keep as Keep
from poolsieve.filters.stages import Score as Score
from poolsieve.filters.stages import Top as Top
from poolsieve.filters.stages import all_of as all_of
from poolsieve.filters.stages import any_of as any_of
from poolsieve.filters.toxicity import celadon as celadon
from poolsieve.filters.url_lists import urls as urls
from poolsieve.scoring_models.protocol import scorer as scorer
