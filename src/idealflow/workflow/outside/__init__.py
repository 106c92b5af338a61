"""Labels that are computed elsewhere: cells written for other programs, and labels brought back."""
