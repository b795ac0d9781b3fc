import threading

import pytest

from tidyvoice.readahead import read_ahead


def test_all_threads_work_and_results_come_in_order():
    together = threading.Barrier(20)

    def work(item):
        together.wait(10)
        return item * item

    assert list(read_ahead(work, range(40), threads=20)) == [i * i for i in range(40)]


def test_an_error_is_raised_where_its_result_is_due():
    def work(item):
        if item == 3:
            raise ValueError("item 3")
        return item

    results = read_ahead(work, range(10), threads=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="item 3"):
        next(results)
