import pytest
import torch

from fre_lightning.reducers import products
from fre_lightning.reducers.products import project, squares_of


@pytest.fixture(autouse=True)
def _few_at_once(monkeypatch):
    monkeypatch.setattr(products, "_AT_ONCE", 3)


@pytest.mark.parametrize("n_rows", [1, 3, 7, 9])
def test_products_are_those_of_all_rows_at_once(n_rows):
    generator = torch.Generator().manual_seed(n_rows)
    values, rows = (torch.randn(n, 20, generator=generator).double() for n in (5, n_rows))
    torch.testing.assert_close(project(values, rows), values @ rows.T)
    torch.testing.assert_close(squares_of(rows), rows @ rows.T)
