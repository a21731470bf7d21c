"""Words that messages share."""

from dbt_pendo.wording import size


def test_sizes_are_rounded_and_have_a_unit():
    for count, words in [
        *((0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1000, "1.0 kB"), (1234, "1.2 kB"), (10_500, "10 kB")),
        *((123_456_789, "123 MB"), (9_870_000_000, "9.9 GB"), (2 * 10**12, "2.0 TB"), (5 * 10**16, "50,000 TB")),
    ]:
        assert size(count) == words
