import random

from fre_lightning.report.gallery import gallery_order, is_mistake


def test_mistakes_first_then_what_is_close_to_one():
    labels = [0, 0, 0, 0, 1, 1, 1, 1]
    scores = [1.0, 7.0, 6.0, 2.0, 9.0, 3.0, 8.0, 4.9]
    #  false alarms by descending, missed by ascending score, by turns; then the same of the others
    assert gallery_order(labels, scores, 5.0) == [1, 5, 2, 7, 3, 6, 0, 4]
    assert gallery_order(labels, scores, None) == [1, 5, 2, 7, 3, 6, 0, 4]


def test_one_kind_runs_out():
    assert gallery_order([0, 1, 1, 1], [1.0, 4.0, 3.0, 2.0], 0.5) == [0, 3, 2, 1]
    assert gallery_order([0, 0], [1.0, 2.0], None) == [1, 0]
    assert gallery_order([], [], None) == []


def test_order_is_a_permutation_with_mistakes_before_the_rest():
    rng = random.Random(0)
    for _ in range(50):
        n = rng.randint(1, 30)
        labels = [rng.randint(0, 1) for _ in range(n)]
        scores = [rng.choice([1.0, 2.0, 2.0, 3.0]) for _ in range(n)]
        order = gallery_order(labels, scores, 2.0)
        assert sorted(order) == list(range(n))
        mistakes = [is_mistake(labels[i], scores[i], 2.0) for i in order]
        assert mistakes == sorted(mistakes, reverse=True)


def test_a_mistake_is_what_the_threshold_gets_wrong():
    assert [is_mistake(label, 5.0, 5.0) for label in (0, 1)] == [False, True]  # not above it
    assert [is_mistake(label, 6.0, 5.0) for label in (0, 1)] == [True, False]
    assert not is_mistake(1, 0.0, None)
