"""Layers: attention, recurrences, heads. Tensors in, tensors out; weights are always a return value."""
