"""A campaign on disk."""
