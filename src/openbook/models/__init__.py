"""Architectures and the registry that names them; one architecture a file, its config above it."""
