"""Products of matrices: sums of symmetric ones, and those whose rows are long.

Long rows are of many features, and far fewer rows. MKL, which torch computes with on CPUs, takes
1.6 times as long for all of them at once as for some hundred at a time (334 by 3,411 rows of 25,088
features, two cores).
"""

import torch
from torch import Tensor

_AT_ONCE = 512

# A symmetric product in n panels of rows takes (n + 1) / 2n of the arithmetic: 5 / 8.
_N_PANELS = 4


def add_product(total: Tensor, values: Tensor) -> None:
    """Add `values @ values.T` of `(n, m)` values to `(n, n)`, on and above the diagonal only."""
    step = -(-len(values) // _N_PANELS)
    for start in range(0, len(values), step):
        rows = slice(start, start + step)
        total[rows, start:].addmm_(values[rows], values[start:].T)


def project(values: Tensor, directions: Tensor) -> Tensor:
    """`values @ directions.T`: coordinates `(n, m)` of `(n, D)` along `(m, D)`."""
    return torch.cat([values @ some.T for some in torch.split(directions, _AT_ONCE)], dim=1)


def squares_of(rows: Tensor) -> Tensor:
    """`rows @ rows.T` of `(n, D)` rows, `(n, n)`, by the part that lies above the diagonal."""
    squares = rows.new_zeros(len(rows), len(rows))
    for start in range(0, len(rows), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        squares[some, start:] = project(rows[some], rows[start:])
    return squares.triu() + squares.triu(1).T
