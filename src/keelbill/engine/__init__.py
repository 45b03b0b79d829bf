"""The diffusion engine: tensors in, tensors out. Knows nothing of users, HTTP, databases or files other than weights."""
