"""The batch every model reads, and the key to the letters in tensor names.

B windows · T context steps · H horizon steps · F variables (the target first, then past-only and known-future columns)
X encoder inputs (the F variables, then flags and calendar) · K decoder inputs · M targets · Q quantiles · D hidden units
N series · R rows of all series · C columns of the resident array · S segments · G gaps · L decoder steps, history included
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """B windows, scaled; unknown values are 0 and masked.

    ``encoder_BTX``: context inputs. ``inside_BT``: the step belongs to the series (false on padding, which stands left).
    ``observed_BTF``: the variable was observed. ``decoder_BHK``: what is known ahead, known-future columns first, with
    ``decoder_observed_BHK``. ``target_BHM`` with ``target_observed_BHM``: the truth in scaled units; of a series that was zero
    up to there nothing says how large a truth is, and none counts. ``last_BM``: last observed target, scaled (the first
    feedback).
    ``location_BM``, ``scale_BM`` (float64): original = location + scale * scaled. ``own_B``: the place of the window's series
    among those with a map of their own, -1 for all others.
    """

    encoder_BTX: Tensor
    inside_BT: Tensor
    observed_BTF: Tensor
    decoder_BHK: Tensor
    decoder_observed_BHK: Tensor
    target_BHM: Tensor
    target_observed_BHM: Tensor
    last_BM: Tensor
    location_BM: Tensor
    scale_BM: Tensor
    own_B: Tensor
