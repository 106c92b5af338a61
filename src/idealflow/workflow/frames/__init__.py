"""Structures: read, built, checked, and written to documents and files."""
