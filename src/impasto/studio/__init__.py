"""The studio: painting for others, by a page and over HTTP."""
