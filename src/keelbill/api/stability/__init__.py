"""The REST surface that clients of the Stability AI developer platform expect: v2beta and v1."""
