"""Every scorer that loads a model. Nothing here imports torch or transformers before a model is loaded."""

from poolsieve.scoring_models.celadon import Celadon as Celadon
from poolsieve.scoring_models.classifier import Classifier as Classifier
from poolsieve.scoring_models.clip import Clip as Clip
from poolsieve.scoring_models.fasttext import FastText as FastText
from poolsieve.scoring_models.images import ImageSize as ImageSize
from poolsieve.scoring_models.language import Gcld3 as Gcld3
from poolsieve.scoring_models.language import Language as Language
from poolsieve.scoring_models.tokens import Tokens as Tokens
