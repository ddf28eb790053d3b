"""The JavaScript client, built and tested as its own tools do."""
