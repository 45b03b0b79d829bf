"""What several tests share: small random models and their prompts."""
