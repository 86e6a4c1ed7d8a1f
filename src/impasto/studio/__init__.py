"""Painting for others: a service of worker processes, what it offers over HTTP, and the page."""
