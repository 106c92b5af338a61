"""Structures in: built, read, checked, and turned into what documents and files hold."""
