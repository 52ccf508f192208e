"""Sample the spectrum of a cut sky: its posterior, with the cut in the errors.

Gibbs sampling (Wandelt, Larson & Lakshminarayanan 2004; Eriksen et al. 2004): fill the holes with
signal and noise, given the total C_ell; draw the total C_ell, given the filled sky; and so on.
"""

from skyfill.posterior.chain import sample
from skyfill.posterior.gibbs import Gibbs, posterior_edges
from skyfill.posterior.mixing import effective_samples, split_rhat
from skyfill.posterior.summary import Posterior

__all__ = [
    "Gibbs",
    "Posterior",
    "effective_samples",
    "posterior_edges",
    "sample",
    "split_rhat",
]
