"""The page at ``/docs``: every operation with its parameters, answers and an example to paste."""
