"""What the scripts beside this package share, and the tests with them."""
