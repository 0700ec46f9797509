"""Molecules by the million: streams of rows to parts on disk, encoded, decoded or sampled."""
