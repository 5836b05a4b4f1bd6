"""The HTTP API: one file per noun, one table of routes (`routes.py`)."""
