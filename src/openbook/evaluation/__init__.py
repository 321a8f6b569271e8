"""Metrics and rolling-origin evaluation."""
