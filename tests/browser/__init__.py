"""A real browser, and what people do with it."""
