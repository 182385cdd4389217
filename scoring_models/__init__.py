"""Every scorer that loads a model. Nothing here imports torch or transformers before a model is loaded."""

from poolsieve.scoring_models.answers.scorer import Answers
from poolsieve.scoring_models.answers.verdicts import Verdicts
from poolsieve.scoring_models.causal.scorer import Color, Loss
from poolsieve.scoring_models.causal.stored import StoredLosses
from poolsieve.scoring_models.clip.scorer import Clip
from poolsieve.scoring_models.encoders.celadon import Celadon
from poolsieve.scoring_models.encoders.classifier import Classifier
from poolsieve.scoring_models.endpoints.endpoint import Endpoint
from poolsieve.scoring_models.endpoints.judge import Judge
from poolsieve.scoring_models.fasttext import FastText
from poolsieve.scoring_models.image_size import ImageSize
from poolsieve.scoring_models.language import Gcld3, Language
from poolsieve.scoring_models.panels.panel import Panel
from poolsieve.scoring_models.tokens import Tokens

__all__ = [
    "Answers",
    "Celadon",
    "Classifier",
    "Clip",
    "Color",
    "Endpoint",
    "FastText",
    "Gcld3",
    "ImageSize",
    "Judge",
    "Language",
    "Loss",
    "Panel",
    "StoredLosses",
    "Tokens",
    "Verdicts",
]
