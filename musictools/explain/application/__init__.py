"""The explanation system: a song in, a page with its descriptors, heatmaps and sounds out."""
