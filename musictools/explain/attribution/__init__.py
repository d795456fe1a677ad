"""Attribution: how much each part of the input adds to an output of a network."""
