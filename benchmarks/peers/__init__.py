"""Other libraries on the same data, in an environment of their own."""
