"""Turns durable jobs into pictures on workers, fairly. Knows no accounts, prices or wire formats of clients."""
