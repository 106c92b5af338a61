"""What a campaign has learned: versions of force field, uncertainty and replay ledger."""
