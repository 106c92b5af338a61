"""What every stage's job shares: store, lock, names, progress."""
