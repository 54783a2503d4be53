"""Criteria on the weights alone."""

import numpy as np

from tf_channel_prune.criteria.base import Criterion


class L1(Criterion):
    """Sum of absolute weights (Li et al., ICLR 2017, section 3.1)."""

    name = "l1"

    def elements(self, array):
        return np.abs(array)


class L2(Criterion):
    """Sum of squared weights: the group norm of DepGraph.

    Fang et al., CVPR 2023, equation 4, with p = 2 and all coupled slices.
    """

    name = "l2"

    def elements(self, array):
        return np.square(array)
