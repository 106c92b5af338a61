"""The learner of a campaign: versions of its force field, its uncertainty and its replay ledger."""
