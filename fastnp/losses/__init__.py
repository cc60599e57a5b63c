"""Losses: how far a prediction is from its target.

`loss` is the base class of all, `built_in` what those share that kernels compute, `settings` how their settings are
checked; one file for each sort of these.
"""

from .bce_with_logits import BCEWithLogits as BCEWithLogits
from .cross_entropy import CrossEntropy as CrossEntropy
from .elementwise import MAE as MAE
from .elementwise import MSE as MSE
from .elementwise import Huber as Huber
from .elementwise import Quantile as Quantile
from .loss import Loss as Loss
from .poisson_nll import PoissonNLL as PoissonNLL
