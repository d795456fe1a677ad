"""The explanation system: explains a song by its descriptors, as a page with heatmaps and sounds."""
