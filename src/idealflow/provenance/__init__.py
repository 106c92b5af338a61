"""Queries and lineage over any jobflow JobStore: what was labelled, why, and what came of it."""

from idealflow.provenance.campaign import Campaign
from idealflow.provenance.indexes import COMPOUND_INDEXES, INDEXED_FIELDS, ensure_indexes

__all__ = ["COMPOUND_INDEXES", "INDEXED_FIELDS", "Campaign", "ensure_indexes"]
