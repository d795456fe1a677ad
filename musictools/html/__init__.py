"""HTML pages from templates in which every value is escaped."""
