"""Predictors: values of architectures learnt from a few that were evaluated.

A predictor is a frozen specification with `fit`; what it returns has `predict`, which
gives a mean and a standard deviation. Nothing fitted is stored, since fitting is
deterministic: it is done again from the archive.
"""

from search.predictors.combination import Combination as Combination
from search.predictors.ensemble import Ensemble as Ensemble
from search.predictors.features import Members as Members
from search.predictors.gaussian_process import GaussianProcess as GaussianProcess
from search.predictors.predictor import Fitted as Fitted
from search.predictors.predictor import Prediction as Prediction
from search.predictors.predictor import Predictor as Predictor
from search.predictors.ridge import Ridge as Ridge
from search.predictors.selection import BestOf as BestOf
