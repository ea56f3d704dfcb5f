import torch

from fre_lightning.threads import intra_op_threads, thread_pool


def test_the_number_of_threads_is_given_back():
    before = torch.get_num_threads()
    with intra_op_threads(3), thread_pool(2) as pool:
        assert torch.get_num_threads() == 3
        assert list(pool.map(lambda _: torch.get_num_threads(), range(2))) == [1, 1]
    assert torch.get_num_threads() == before
