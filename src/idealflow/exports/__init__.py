"""A campaign taken along: its dataset with a data card, trajectories and the model, in files that other programs read."""
