"""The systems that can be measured. Each is an adapter of the same shape: `system.System`."""
