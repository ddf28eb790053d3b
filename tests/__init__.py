"""The tests: one folder for each library, `fuzz` for hostile bytes, `support` for what they share."""
