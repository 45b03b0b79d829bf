"""The diffusion engine: tensors in, tensors out. Knows nothing of users, HTTP, databases or pictures as files."""
