"""What every other part may use: errors, shared types, settings, the clock and registries. Knows nothing above it."""
