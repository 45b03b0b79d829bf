"""Where models are kept. Knows nothing of how they compute."""
