"""What comes next in a campaign: its settings, its flows, its state."""
