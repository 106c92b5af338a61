"""What the report says, section by section, as plain data that the page draws: from the store alone, and without a display."""
