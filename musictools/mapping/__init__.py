"""From descriptors to genres (`rotheneder2023` 5.2): the mapping network and Shapley values of its inputs.

Conventions
-----------
`descriptors` is a bool DataFrame, clips x descriptors; `genres` a Series, clip id -> genre. `membership` is a float
DataFrame, clips x genres, whose rows add up to 1: the degree to which a set of descriptors belongs to every genre.
"""
