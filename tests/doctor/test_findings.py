import pytest

from tidyvoice.doctor.findings import Finding, about, count, judge, size


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (999_400, "999 kB"),
        (999_900, "1 MB"),
        (22_191_045_120, "22.2 GB"),
        (1.25e12, "1.2 TB"),
        (4e15, "4,000.0 TB"),
    ],
)
def test_sizes_are_readable(number, text):
    assert size(number) == text


@pytest.mark.parametrize(
    ("number", "text"), [(0.0512, "0.051"), (377, "380"), (1234567, "1,200,000")]
)
def test_numbers_have_two_digits(number, text):
    assert about(number) == text


def test_a_line_has_measured_expected_and_mend():
    wrong = judge(False, "data", "3", "4", "mend it")
    assert str(wrong) == "FAIL  data: 3 (expected 4): mend it"
    assert str(judge(False, "data", "3", otherwise="WARN")) == "WARN  data: 3"
    right = judge(True, "data", "4", "4", "mend it")
    assert right == Finding("OK", "data", "4", "4")
    assert count([wrong, right, right]) == {"OK": 2, "WARN": 0, "FAIL": 1}
