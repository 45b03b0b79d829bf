"""Durable jobs: paid for when they are taken, stored when they are done. Knows no wire format of clients."""
