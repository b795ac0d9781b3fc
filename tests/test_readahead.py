import threading

import pytest

from tidyvoice.readahead import read_ahead


def test_results_come_in_order_and_an_error_where_its_result_is_due():
    second = threading.Event()

    def work(item):
        if item == 0:
            second.wait(10)  # so that the second result is there before the first
        second.set()
        return 6 // (3 - item)

    results = read_ahead(work, range(10), threads=2)
    assert [next(results) for _ in range(3)] == [2, 3, 6]
    with pytest.raises(ZeroDivisionError):
        next(results)
