"""The image routes that clients of OpenAI's API expect."""
