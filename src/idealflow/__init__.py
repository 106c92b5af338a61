"""idealflow."""
