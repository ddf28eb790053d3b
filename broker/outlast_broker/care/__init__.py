"""Looking after a store from beside the broker: going through it, copying it, bringing it back."""
