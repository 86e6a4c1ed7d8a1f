"""The studio: a page and an HTTP interface for painting."""
