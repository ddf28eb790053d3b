"""What several tests need: sample frames, connections in a given state, strategies, bounds."""
