"""Marks: how right an answer is, from 0 to 1. Pure functions of texts, one for each way of marking.

`mark(how, said, gold)` marks one answer, `Scoring` chooses the way by an item's source, `lacking` says why an item
can't be marked that way. May import `scoring_models.base`.
"""

from poolsieve.scoring_models.marking.final import final_answer
from poolsieve.scoring_models.marking.gold import Gold
from poolsieve.scoring_models.marking.presets import DATBENCH
from poolsieve.scoring_models.marking.ways import HOWS, Scoring, Way, lacking, mark

__all__ = ["DATBENCH", "HOWS", "Gold", "Scoring", "Way", "final_answer", "lacking", "mark"]
