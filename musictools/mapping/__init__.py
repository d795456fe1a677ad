"""From descriptors to genres (`rotheneder2023` 5.2): the mapping network, its rivals, its reasons and its honesty.

Conventions
-----------
`descriptors` is a bool DataFrame, clips x descriptors; `genres` a Series, clip id -> genre. `membership` is a float
DataFrame, clips x genres, rows that add up to 1: the degree to which a set of descriptors belongs to every genre.
"""
