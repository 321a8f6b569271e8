"""Windows: one resident array, an index gather, masks and context-only scaling. From arrays to batches."""
