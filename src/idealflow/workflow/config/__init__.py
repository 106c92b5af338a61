"""What a config says: settings read, checked and made into a Maker; the configs that ship with the package."""
