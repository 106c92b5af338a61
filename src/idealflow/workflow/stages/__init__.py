"""The stages of a round, each a Maker of one job."""
