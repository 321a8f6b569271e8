"""Forecasters and floors on tables: frames and tensors meet here. Import the module you need; this folder stays light."""
